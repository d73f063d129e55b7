// The lines in which two texts differ, each line given as a number. Lines that both have once are lined up first, in
// the longest run that is in order in both, and what is between them is compared in the same way. What has no such line
// is compared by Myers' algorithm, which goes on from where it has come furthest if it has looked at enough. That is
// quick for texts of any length, and reads as a person would divide them.

const MOST = 1000; // lines that differ, in what is looked at together

// Runs [fromA, toA, fromB, toB] that differ, in order.
export function differences(a, b) {
  const found = [];
  const left = [[0, a.length, 0, b.length]];
  while (left.length) {
    let [a0, a1, b0, b1] = left.pop();
    while (a0 < a1 && b0 < b1 && a[a0] === b[b0]) { a0++; b0++; }
    while (a0 < a1 && b0 < b1 && a[a1 - 1] === b[b1 - 1]) { a1--; b1--; }
    if (a0 === a1 && b0 === b1) continue;
    const anchors = a0 === a1 || b0 === b1 ? [] : inOrder(once(a, a0, a1, b, b0, b1));
    if (!anchors.length) { found.push(...edits(a, a0, a1, b, b0, b1)); continue; }
    let [a2, b2] = [a0, b0];
    for (const [x, y] of anchors) { left.push([a2, x, b2, y]); [a2, b2] = [x + 1, y + 1]; }
    left.push([a2, a1, b2, b1]);
  }
  return found.sort((one, other) => one[0] - other[0] || one[2] - other[2]);
}

// Pairs of the lines that are in both stretches, and once in each, in the order of the first.
function once(a, a0, a1, b, b0, b1) {
  const seen = new Map();
  for (let i = a0; i < a1; i++) seen.set(a[i], { x: seen.has(a[i]) ? -1 : i, y: -1 });
  for (let j = b0; j < b1; j++) {
    const one = seen.get(b[j]);
    if (one) { if (one.y >= 0) one.x = -1; one.y = j; }
  }
  return [...seen.values()].filter((one) => one.x >= 0 && one.y >= 0).map((one) => [one.x, one.y]);
}

// The longest run of pairs whose second numbers rise.
function inOrder(pairs) {
  const ends = [], before = new Array(pairs.length).fill(-1);
  pairs.forEach(([, y], index) => {
    let low = 0, high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[ends[middle]][1] < y) low = middle + 1; else high = middle;
    }
    if (low) before[index] = ends[low - 1];
    ends[low] = index;
  });
  const run = [];
  for (let index = ends.at(-1) ?? -1; index >= 0; index = before[index]) run.push(pairs[index]);
  return run.reverse();
}

// The fewest lines to take out and put in, or nearly: a stretch at a time.
function edits(a, a0, a1, b, b0, b1) {
  const found = [];
  while (a0 < a1 && b0 < b1) {
    const { x, y, runs } = stretch(a, a0, a1, b, b0, b1);
    for (const [x0, x1, y0, y1] of runs) join(found, [a0 + x0, a0 + x1, b0 + y0, b0 + y1]);
    [a0, b0] = [a0 + x, b0 + y];
  }
  if (a0 < a1 || b0 < b1) join(found, [a0, a1, b0, b1]);
  return found;
}

// Adds a run, to the last one if they touch.
function join(runs, one) {
  const last = runs.at(-1);
  if (last && last[1] === one[0] && last[3] === one[2]) [last[1], last[3]] = [one[1], one[3]];
  else runs.push(one);
}

// Goes as far as equal lines lead with 0, 1, 2, ... lines that differ, to the end, or as far as it gets with the most.
function stretch(a, a0, a1, b, b0, b1) {
  const [n, m] = [a1 - a0, b1 - b0], most = Math.min(n + m, MOST), middle = most + 1;
  const reach = new Int32Array(2 * most + 3), trace = [];
  let best = { x: 0, y: 0 };
  for (let d = 0; d <= most; d++) {
    trace.push(reach.slice(middle - d - 1, middle + d + 2));
    best = { x: 0, y: 0 };
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]);
      let x = down ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      while (x < n && x - k < m && a[a0 + x] === b[b0 + x - k]) x++;
      reach[middle + k] = x;
      if (x <= n && x - k <= m && 2 * x - k > best.x + best.y) best = { x, y: x - k };
    }
    if (best.x === n && best.y === m) break;
  }
  return { ...best, runs: runsOf(trace, best.x, best.y) };
}

// The way back from the end, with single steps that touch joined to runs.
function runsOf(trace, x, y) {
  const runs = [];
  for (let d = trace.length - 1; d > 0; d--) {
    const reach = (k) => trace[d][k + d + 1], k = x - y;
    const down = k === -d || (k !== d && reach(k - 1) < reach(k + 1));
    const before = down ? k + 1 : k - 1, x0 = reach(before), y0 = x0 - before;
    const one = down ? [x0, x0, y0, y0 + 1] : [x0, x0 + 1, y0, y0];
    const last = runs.at(-1);
    if (last && last[0] === one[1] && last[2] === one[3]) [last[0], last[2]] = [one[0], one[2]];
    else runs.push(one);
    [x, y] = [x0, y0];
  }
  return runs.reverse();
}
