// Unpacks what the page brings along: the data, and the IR of each pass when somebody looks at it.

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

async function inflated(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const text = async (base64) => new TextDecoder().decode(await inflated(base64));

export async function loadData() {
  return JSON.parse(await text(document.getElementById("atoll-data").textContent));
}

const HOLE = "\u0001";

// The IR after every pass; `packing.py` says how it is packed.
export class IrTexts {
  constructor() {
    const packed = JSON.parse(document.getElementById("atoll-ir").textContent);
    this.passes = packed.passes;
    this.places = packed.places;
    this._patternsPacked = packed.patterns;
    this._texts = new Map();
  }

  // Where the text of a pass is: its own number, or that of the pass before that it equals.
  base(number) {
    return this.passes[number].same ?? number;
  }

  // A pass's lines; the numbers of their patterns, which are equal where lines differ in names alone; their places.
  async get(number) {
    const at = this.base(number);
    if (!this._texts.has(at)) this._texts.set(at, this._unpack(this.passes[at]));
    return this._texts.get(at);
  }

  async _unpack(pass) {
    this._patterns ??= text(this._patternsPacked).then((all) =>
      all.split("\n").map((one) => one.split(HOLE)).map((pieces) => ({
        pieces,
        prefixes: pieces.slice(0, -1).map((piece) => /%[A-Za-z_]*$/.exec(piece)[0]),
        defines: /^\s*%[A-Za-z_]*$/.test(pieces[0]) && pieces.length > 1,
      })));
    const [patterns, stream] = [await this._patterns, await inflated(pass.data)];
    let at = 0;
    const next = () => {
      let number = 0, factor = 1, byte;
      do { byte = stream[at++]; number += (byte & 127) * factor; factor *= 128; } while (byte >= 128);
      return number;
    };
    const signed = () => { const number = next(); return number % 2 ? -(number + 1) / 2 : number / 2; };
    const lines = [], ids = [], places = [], defined = new Map();
    let place = 0;
    for (let count = 0; count < pass.lines; count++) {
      const id = next();
      place += signed();
      const { pieces, prefixes, defines } = patterns[id];
      let line = pieces[0];
      for (let index = 0; index < prefixes.length; index++) {
        const number = signed() + (defined.get(prefixes[index]) ?? 0);
        if (defines && index === 0) defined.set(prefixes[0], number);
        line += number + pieces[index + 1];
      }
      lines.push(line);
      ids.push(id);
      places.push(place);
    }
    return { lines, ids, places };
  }
}
