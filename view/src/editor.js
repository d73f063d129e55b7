// Texts that are read: CodeMirror, which draws only the lines that are seen, so that files may be of any length.

import { codeFolding, foldable, foldEffect, foldGutter, foldKeymap, foldService, unfoldAll } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap, openSearchPanel } from "@codemirror/search";
import { EditorState, RangeSetBuilder, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, MatchDecorator, ViewPlugin, gutter, GutterMarker, keymap, lineNumbers, drawSelection, highlightActiveLine } from "@codemirror/view";

// Words are coloured by what they look like; that is enough for reading, and needs no grammar.
function coloured(pattern, classes) {
  const decorator = new MatchDecorator({
    regexp: pattern,
    decoration: (match) => Decoration.mark({ class: classes[match.slice(1).findIndex((group) => group !== undefined)] }),
  });
  return ViewPlugin.fromClass(
    class {
      constructor(view) { this.decorations = decorator.createDeco(view); }
      update(update) { this.decorations = decorator.updateDeco(update, this.decorations); }
    },
    { decorations: (one) => one.decorations });
}

const IR = coloured(
  /(\/\/.*$)|("(?:[^"\\]|\\.)*")|(%[\w#:]+)|([@#!][\w.]+)|\b((?:stablehlo|mpmd|sdy|func|chlo)\.[\w.]+|module|return)\b/g,
  ["t-comment", "t-string", "t-value", "t-symbol", "t-word"]);

// Strings of several lines make Python need all of its text at once; a file that a person wrote is short enough.
const PYTHON = /(#.*$)|("""[^]*?"""|'''[^]*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|\b(def|class|return|for|in|if|elif|else|with|as|import|from|lambda|while|not|and|or|is|None|True|False|yield|raise|try|except|finally|pass|assert)\b|(@[\w.]+)/gm;

function python(text) {
  const builder = new RangeSetBuilder(), classes = ["t-comment", "t-string", "t-word", "t-symbol"];
  for (const match of text.matchAll(PYTHON)) {
    const name = classes[match.slice(1).findIndex((group) => group !== undefined)];
    builder.add(match.index, match.index + match[0].length, Decoration.mark({ class: name }));
  }
  return EditorView.decorations.of(builder.finish());
}

// A line that ends with a brace folds up to the line that closes it, which has the same indentation.
const braces = foldService.of((state, from) => {
  const line = state.doc.lineAt(from);
  if (!/\{\s*$/.test(line.text)) return null;
  const indentation = /^\s*/.exec(line.text)[0];
  if (!indentation) return null; // the module itself
  for (let number = line.number + 1; number <= state.doc.lines; number++) {
    const other = state.doc.line(number);
    if (other.text.startsWith(`${indentation}}`)) return { from: line.to, to: other.from + indentation.length };
  }
  return null;
});

export const markLines = StateEffect.define();
const marked = StateField.define({
  create: () => Decoration.none,
  update(value, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(markLines)) continue;
      const builder = new RangeSetBuilder();
      for (const { line, name, changed } of effect.value) {
        const at = transaction.state.doc.line(line).from;
        builder.add(at, at, Decoration.line({ class: name }));
        if (changed && changed[0] < changed[1]) builder.add(at + changed[0], at + changed[1], Decoration.mark({ class: "t-changed" }));
      }
      value = builder.finish();
    }
    return value;
  },
  provide: (field) => EditorView.decorations.from(field),
});

class Marker extends GutterMarker {
  constructor(make) { super(); this.make = make; }
  toDOM() { return this.make(); }
}

// A text in an element. language: `ir` or `python`; numbers: what stands for a line number; beside: makes what stands
// beside a line, or nothing; chosen: called with the line that the cursor is in.
export function reader(parent, text, { language, label, numbers, beside, chosen, folds } = {}) {
  const view = new EditorView({
    parent,
    doc: text,
    extensions: [
      EditorState.readOnly.of(true),
      EditorView.contentAttributes.of({ "aria-label": label, "aria-readonly": "true" }),
      lineNumbers(numbers ? { formatNumber: numbers } : {}),
      beside ? gutter({
        class: "beside",
        lineMarker: (view, block) => {
          const made = beside(view.state.doc.lineAt(block.from).number);
          return made ? new Marker(made) : null;
        },
      }) : [],
      folds ? [codeFolding(), foldGutter(), braces] : [],
      language === "ir" ? IR : language === "python" ? python(text) : [],
      drawSelection(), highlightActiveLine(), highlightSelectionMatches(), search({ top: true }), marked,
      keymap.of([...searchKeymap, ...foldKeymap]),
      EditorView.updateListener.of((update) => {
        if (chosen && update.selectionSet) chosen(update.state.doc.lineAt(update.state.selection.main.head).number);
      }),
    ],
  });
  return view;
}

export function goTo(view, line) {
  const at = view.state.doc.line(Math.max(1, Math.min(line, view.state.doc.lines))).from;
  view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
}

export function scrollTo(view, line) {
  view.dispatch({ effects: EditorView.scrollIntoView(view.state.doc.line(line).from, { y: "center" }) });
}

// Folds the code of every fragment, so that what is left says what runs where.
export function foldFragments(view) {
  const effects = [];
  for (let number = 1; number <= view.state.doc.lines; number++) {
    const line = view.state.doc.line(number);
    if (!/mpmd\.fragment<|func\.func private @(?!microbatch)/.test(line.text)) continue;
    const range = foldable(view.state, line.from, line.to);
    if (range) effects.push(foldEffect.of(range));
  }
  view.dispatch({ effects });
  return effects.length;
}

export { unfoldAll, openSearchPanel };
