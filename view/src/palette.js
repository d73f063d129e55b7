// Colours that colour-blind people tell apart (Okabe and Ito's eight), each with a texture or a label beside it.

// By the letter of a task's kind: name, colour, texture, colour of text on it.
export const KINDS = {
  F: { name: "forward", fill: "#0072b2", texture: "", ink: "#ffffff" },
  B: { name: "backward", fill: "#d55e00", texture: "rising", ink: "#000000" },
  W: { name: "weight gradient", fill: "#009e73", texture: "dots", ink: "#000000" },
  U: { name: "update", fill: "#cc79a7", texture: "falling", ink: "#000000" },
  I: { name: "before the loop", fill: "#e69f00", texture: "", ink: "#000000" },
  X: { name: "exchange", fill: "#56b4e9", texture: "level", ink: "#000000" },
  R: { name: "reshard", fill: "#8c8c8c", texture: "", ink: "#000000" },
};

const STAGES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#606060"];
export const stageColour = (stage) => STAGES[stage % STAGES.length];
export const stageInk = (stage) => ([0, 7].includes(stage % STAGES.length) ? "#ffffff" : "#000000");

// A small square of lines or dots that is laid over a colour.
export function texture(context, name) {
  if (!name) return null;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const draw = tile.getContext("2d");
  draw.strokeStyle = draw.fillStyle = "rgba(255,255,255,0.28)";
  draw.lineWidth = 1.4;
  const line = (x1, y1, x2, y2) => { draw.beginPath(); draw.moveTo(x1, y1); draw.lineTo(x2, y2); draw.stroke(); };
  if (name === "rising") { line(-2, 10, 10, -2); line(-2, 2, 2, -2); line(6, 10, 10, 6); }
  if (name === "falling") { line(-2, -2, 10, 10); line(6, -2, 10, 2); line(-2, 6, 2, 10); }
  if (name === "level") { line(0, 2, 8, 2); line(0, 6, 8, 6); }
  if (name === "dots") for (const [x, y] of [[2, 2], [6, 6]]) { draw.beginPath(); draw.arc(x, y, 1.2, 0, 7); draw.fill(); }
  return context.createPattern(tile, "repeat");
}
