// Bundles src/ and the libraries into compiler/view/view.js and view.css, which `atoll view` writes into its page.
// The first line of each says what it was made from: a test compares that, so that a bundle cannot be forgotten.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const sources = [
  "bundle.js",
  "package-lock.json",
  "package.json",
  ...readdirSync("src").map((name) => `src/${name}`).sort(),
];
const digest = createHash("sha256");
for (const name of sources) digest.update(name).update("\0").update(readFileSync(name)).update("\0");
const banner = `/* made of view/ by make bundle; sha256 ${digest.digest("hex")} */`;

await build({
  entryPoints: { view: "src/main.js" },
  outdir: "../compiler/view",
  bundle: true,
  minify: true,
  charset: "ascii",
  format: "iife",
  target: ["chrome110", "firefox115", "safari16.4"],
  banner: { js: banner, css: banner },
  legalComments: "inline",
  logLevel: "warning",
});
