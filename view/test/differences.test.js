import assert from "node:assert";
import { test } from "node:test";
import { differences } from "../src/differences.js";

// What is between the runs must be equal on both sides.
function check(a, b) {
  let [i, j] = [0, 0];
  for (const [a0, a1, b0, b1] of [...differences(a, b), [a.length, a.length, b.length, b.length]]) {
    assert.ok(a0 >= i && a0 - i === b0 - j);
    for (; i < a0; i++, j++) assert.equal(a[i], b[j]);
    [i, j] = [a1, b1];
  }
}

test("what is no difference is equal", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let turn = 0; turn < 3000; turn++) {
    const kinds = 1 + random(6), line = () => random(kinds);
    check(Array.from({ length: random(14) }, line), Array.from({ length: random(14) }, line));
  }
});

test("a line that is put in, among lines that repeat themselves", () => {
  const layers = Array.from({ length: 5000 }, (_, index) => index % 7);
  const changed = [...layers.slice(0, 2500), 9, ...layers.slice(2500)];
  assert.deepEqual(differences(layers, changed), [[2500, 2500, 2500, 2501]]);
});

test("a line that has moved", () => {
  assert.deepEqual(differences([1, 2, 3, 4], [2, 3, 4, 1]), [[0, 1, 0, 0], [4, 4, 3, 4]]);
});

test("more lines taken out than are looked at together, among lines that repeat themselves", () => {
  const layers = Array.from({ length: 20000 }, (_, index) => index % 7);
  const fewer = layers.filter((_, index) => index % 10);
  check(layers, fewer);
  const gone = differences(layers, fewer).reduce((sum, [a0, a1]) => sum + a1 - a0, 0);
  assert.ok(gone < 4000, `${gone} lines are gone, and 2000 would do`);
});
