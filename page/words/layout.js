// Where the things of a scene stand: the twin of words/layout.py. A drawing is a list of strokes [[x, y], ...], y goes
// down, and the ground is y = 0 until the scene is fitted into its picture.

import { KINDS } from "./names.js";

const GAP = 18;
const SIZE_POWER = 0.3; // sizes in the picture go with this power of those in the world
const UNIT = 130; // px of a thing of one metre
const OVERLAPPING = ["in", "in front of", "behind", "under"]; // relations in which two boxes overlap
const ROW_COST = 1.4; // how much larger all must be for one more row on the ground
const STEP = 2; // px between the points along a stroke

/** A rectangle by its left, top, width and height. */
export class Box {
  constructor(left, top, width, height) {
    Object.assign(this, { left, top, width, height });
  }

  get right() {
    return this.left + this.width;
  }

  get bottom() {
    return this.top + this.height;
  }

  get middle() {
    return this.left + this.width / 2;
  }

  /** Return it elsewhere. */
  moved(dx, dy = 0) {
    return new Box(this.left + dx, this.top + dy, this.width, this.height);
  }

  /** Return it in another size, the middle of its lower side where it was. */
  scaled(factor) {
    const [width, height] = [this.width * factor, this.height * factor];
    return new Box(this.middle - width / 2, this.bottom - height, width, height);
  }

  /** Tell whether two boxes overlap. */
  meets(other) {
    return this.left < other.right && other.left < this.right && this.top < other.bottom && other.top < this.bottom;
  }
}

/** Return the box around some strokes. */
export function boxOf(strokes) {
  const ranges = [0, 1].map((axis) => {
    const values = strokes.flat().map((point) => point[axis]);
    const low = Math.min(...values);
    return [low, Math.max(Math.max(...values) - low, 1)];
  });
  return new Box(ranges[0][0], ranges[1][0], ranges[0][1], ranges[1][1]);
}

/** Return the box around some boxes. */
function around(boxes) {
  const [left, top] = ["left", "top"].map((side) => Math.min(...boxes.map((box) => box[side])));
  const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...boxes.map((box) => box[side])));
  return new Box(left, top, right - left, bottom - top);
}

/** Return by how much a drawing in the box `own` is scaled in `box`, which has its proportions. */
export const scaleIn = (own, box) => (own.width > 1 || own.height > 1 ? Math.max(box.width / own.width, box.height / own.height) : 1);

/** Return strokes scaled and moved into a box of their proportions. */
export function placed(strokes, box) {
  const own = boxOf(strokes), scale = scaleIn(own, box);
  return strokes.map((points) => points.map(([x, y]) => [(x - own.left) * scale + box.left, (y - own.top) * scale + box.top]));
}

/** Return the box of each of `things` [{category, size}] of a scene, in px of a picture {width, height, margin}. */
export function arranged(things, drawings, relations, picture) {
  const boxes = things.map(({ category, size }, i) => {
    const own = boxOf(drawings[i]);
    const factor = (UNIT * KINDS[category].metres ** SIZE_POWER * size) / Math.max(own.width, own.height);
    return new Box((-own.width * factor) / 2, -own.height * factor, own.width * factor, own.height * factor);
  });
  const categories = things.map(({ category }) => category);
  const groups = connected(boxes.length, relations);
  for (const numbers of groups) {
    new Cluster(numbers, boxes, categories, drawings).place(relations.filter(({ subjects }) => numbers.includes(subjects[0])));
  }
  return fitted(sideBySide(groups, boxes, categories, picture), picture);
}

const fit = (whole, { width, height, margin }) => Math.min((width - 2 * margin) / whole.width, (height - 2 * margin) / whole.height);

/** Return boxes scaled and moved so that they fill the picture up to its margin. */
function fitted(boxes, picture) {
  const whole = around(boxes), scale = fit(whole, picture);
  const dx = (picture.width - whole.width * scale) / 2 - whole.left * scale;
  const dy = (picture.height - whole.height * scale) / 2 - whole.top * scale;
  return boxes.map((box) => new Box(box.left * scale + dx, box.top * scale + dy, box.width * scale, box.height * scale));
}

/** Return the things in groups that relations connect, each in the order of the prompt. */
function connected(count, relations) {
  let group = Array.from({ length: count }, (_, i) => i);
  for (const { subjects, landmarks } of relations) {
    for (const other of [...subjects, ...landmarks]) {
      const [old, now] = [group[other], group[landmarks[0]]];
      group = group.map((one) => (one === old ? now : one));
    }
  }
  return [...new Set(group)].map((one) => [...group.keys()].filter((i) => group[i] === one));
}

/** Things that relations connect; it places them and knows who has a place. */
class Cluster {
  constructor(numbers, boxes, categories, drawings) {
    Object.assign(this, { numbers, boxes, categories, drawings, done: [] });
  }

  /** Place landmarks before those who stand in a relation to them. */
  place(relations) {
    const subjects = new Set(relations.flatMap((one) => one.subjects));
    const roots = this.numbers.filter((i) => !subjects.has(i));
    for (const root of roots.length ? roots : this.numbers.slice(0, 1)) this.#putBeside(root);
    const left = [...relations];
    while (left.length) {
      const ready = left.findIndex(({ landmarks }) => landmarks.every((i) => this.done.includes(i)));
      this.#relate(left.splice(Math.max(ready, 0), 1)[0]);
    }
    for (const number of this.numbers) if (!this.done.includes(number)) this.#putBeside(number);
  }

  #putBeside(number) {
    if (this.done.length) {
      const right = Math.max(...this.done.map((i) => this.boxes[i].right));
      this.#move(number, right + GAP - this.boxes[number].left);
    }
    this.done.push(number);
  }

  #move(number, dx, dy = 0) {
    this.boxes[number] = this.boxes[number].moved(dx, dy);
  }

  #relate(relation) {
    const { boxes } = this;
    const { kind, subjects, landmarks } = relation;
    for (const number of landmarks) if (!this.done.includes(number)) this.#putBeside(number);
    const mark = around(landmarks.map((i) => boxes[i]));
    const fresh = subjects.filter((i) => !this.done.includes(i));
    if (kind === "between" && landmarks.length > 1) {
      this.#between(fresh, landmarks);
      return;
    }
    const shrink = (factor) => fresh.forEach((i) => (boxes[i] = boxes[i].scaled(factor)));
    const row = () => fresh.reduce((sum, i) => sum + boxes[i].width, 0) + GAP * Math.max(0, fresh.length - 1);
    if (fresh.length && (kind === "under" || kind === "in")) { // all that come there share its width
      const [room, height] = kind === "under" ? [0.9 * mark.width, 0.5 * mark.height] : [0.75 * mark.width, 0.45 * mark.height];
      shrink(Math.min(1, room / Math.max(row(), 1), ...fresh.map((i) => height / boxes[i].height)));
    }
    if (kind === "on" && fresh.length > 1 && row() > mark.width) shrink(Math.max(0.4, mark.width / row())); // all find room
    let left = mark.middle - row() / 2;
    for (const [count, i] of fresh.entries()) {
      const side = kind === "left of" || (kind === "next to" && count % 2) ? -1 : 1;
      boxes[i] = this.#spot(i, relation, mark, left, side);
      left += boxes[i].width + GAP;
      this.#avoid(i, relation, side);
      this.done.push(i);
    }
  }

  /** Return the box of a thing where its relation to the box `mark` wants it; in a row it begins at `left`. */
  #spot(number, { kind, landmarks }, mark, left, side) {
    const box = this.boxes[number];
    const at = (x, bottom) => box.moved(x - box.left, bottom - box.bottom);
    const flies = () => landmarks.some((i) => KINDS[this.categories[i]].place === "s");
    if (["left of", "right of", "next to"].includes(kind)) return at(side > 0 ? mark.right + GAP : mark.left - GAP - box.width, mark.bottom);
    if (kind === "on") return at(left, this.#surface(landmarks, left, left + box.width));
    if (kind === "above") return at(left, mark.top - 2 * GAP);
    if (kind === "below" || (kind === "under" && flies())) return at(left, mark.bottom + 2 * GAP + box.height);
    if (kind === "in") return at(left, mark.bottom - 0.12 * mark.height);
    if (kind === "under") return this.#whereLeastInk(at(left, mark.bottom), landmarks, mark);
    if (kind === "in front of") return at(left + 0.3 * mark.width, mark.bottom + 0.2 * box.height);
    return at(mark.right - 0.45 * box.width, mark.bottom - Math.min(0.15 * mark.height, 0.5 * box.height)); // behind: it looks out on one side
  }

  /** Return points along the strokes of placed things. */
  #ink(numbers) {
    return numbers.flatMap((i) => placed(this.drawings[i], this.boxes[i])).flatMap(along);
  }

  /** Return the height, y, of what is highest below the middle of something that is put on landmarks. */
  #surface(landmarks, left, right) {
    const ink = this.#ink(landmarks), quarter = (right - left) / 4;
    const below = ink.filter(([x]) => x >= left + quarter && x <= right - quarter);
    return Math.min(...(below.length ? below : ink).map(([, y]) => y));
  }

  /** Return the box at the foot of a landmark, moved within its width to where it covers the least ink. */
  #whereLeastInk(box, landmarks, mark) {
    const ink = this.#ink([...landmarks, ...this.done.filter((i) => !landmarks.includes(i))]);
    const room = Math.max(0, mark.width - box.width) / 2;
    const shifts = Array.from({ length: 21 }, (_, i) => -room + i * (room / 10) + mark.middle - box.middle);
    const covered = (shift) => {
      const at = box.moved(shift);
      return ink.filter(([x, y]) => x > at.left && x < at.right && y > at.top && y < at.bottom).length;
    };
    const tried = shifts.sort((a, b) => Math.abs(a) - Math.abs(b)).map((shift) => [covered(shift), shift]);
    return box.moved(tried.reduce((best, each) => (each[0] < best[0] ? each : best))[1]);
  }

  #between(fresh, landmarks) {
    const { boxes } = this;
    let [first, second] = [landmarks[0], landmarks.at(-1)];
    if (boxes[first].left > boxes[second].left) [first, second] = [second, first];
    let x = boxes[first].right + GAP;
    for (const i of fresh) {
      this.#move(i, x - boxes[i].left);
      x = boxes[i].right + GAP;
    }
    const edge = boxes[second].left;
    for (const i of this.done) if (boxes[i].left >= edge) this.#move(i, x - edge); // what is to the right makes room
    this.done.push(...fresh);
  }

  /** Move a thing on, away from its landmark or to the side, until it meets nothing that it may not. */
  #avoid(number, { kind, landmarks }, side) {
    const { boxes } = this;
    const carries = (i) => boxes[i].top >= boxes[number].bottom - 1;
    const mayMeet = (i) => {
      if (landmarks.includes(i)) return kind === "on" || OVERLAPPING.includes(kind); // it may sink into the seat of a chair
      return kind === "on" && allowed.has(i);
    };
    const allowed = new Set(this.done.filter(carries));
    for (let tries = 0; tries < 60; tries++) {
      const box = boxes[number];
      const met = this.done.filter((i) => !mayMeet(i) && box.meets(boxes[i]));
      if (!met.length) return;
      const other = around(met.map((i) => boxes[i]));
      if (kind === "above") this.#move(number, 0, other.top - GAP - box.bottom);
      else if (kind === "below") this.#move(number, 0, other.bottom + GAP - box.top);
      else this.#move(number, side > 0 ? other.right + GAP - box.left : other.left - GAP - box.right);
    }
  }
}

/** Return boxes with their groups beside each other on the ground and those of the sky above, in the rows that let all be largest. */
function sideBySide(groups, boxes, categories, picture) {
  const isSky = (numbers) => numbers.every((i) => KINDS[categories[i]].place === "s");
  const [sky, ground] = [groups.filter(isSky), groups.filter((numbers) => !isSky(numbers))];
  let best = [0, boxes];
  for (let onGround = 1; onGround <= Math.min(4, Math.max(1, ground.length)); onGround++) {
    for (let above = 1; above <= Math.min(3, Math.max(1, sky.length)); above++) {
      const tried = [...boxes];
      rows(sky, tried, rows(ground, tried, 0, onGround), above);
      const scale = fit(around(tried), picture) / ROW_COST ** (onGround - 1);
      if (scale > best[0] * 1.001) best = [scale, tried];
    }
  }
  return best[1];
}

/** Put groups in `count` rows whose lowest stands on `y`, and return where a row above them would stand. */
function rows(groups, boxes, y, count) {
  const share = Math.ceil(groups.length / count);
  const all = share ? Array.from({ length: Math.ceil(groups.length / share) }, (_, i) => groups.slice(i * share, (i + 1) * share)) : [];
  for (const row of all.reverse()) {
    const wholes = row.map((numbers) => around(numbers.map((i) => boxes[i])));
    let x = -(wholes.reduce((sum, { width }) => sum + width, 0) + 2 * GAP * (row.length - 1)) / 2;
    row.forEach((numbers, n) => {
      for (const i of numbers) boxes[i] = boxes[i].moved(x - wholes[n].left, y - wholes[n].bottom);
      x += wholes[n].width + 2 * GAP;
    });
    y -= Math.max(...wholes.map(({ height }) => height)) + 2 * GAP;
  }
  return y;
}

/** Return points along a stroke, evenly by length. */
function along(stroke) {
  const reached = [0];
  for (let i = 1; i < stroke.length; i++) reached.push(reached[i - 1] + Math.hypot(stroke[i][0] - stroke[i - 1][0], stroke[i][1] - stroke[i - 1][1]));
  const count = Math.max(2, Math.floor(reached.at(-1) / STEP) + 1);
  let next = 1;
  return Array.from({ length: count }, (_, k) => {
    const at = (reached.at(-1) * k) / (count - 1);
    while (next < stroke.length - 1 && reached[next] < at) next++;
    if (stroke.length === 1) return stroke[0];
    const part = reached[next] > reached[next - 1] ? (at - reached[next - 1]) / (reached[next] - reached[next - 1]) : 1;
    return [0, 1].map((axis) => stroke[next - 1][axis] + Math.min(part, 1) * (stroke[next][axis] - stroke[next - 1][axis]));
  });
}

/** Return which thing is partly hidden by which, [back, front], as relations say it. */
export function behindPairs(relations) {
  return relations.flatMap(({ kind, subjects, landmarks }) => {
    const both = subjects.flatMap((subject) => landmarks.map((landmark) => [subject, landmark]));
    return kind === "behind" ? both : kind === "in front of" ? both.map(([a, b]) => [b, a]) : [];
  });
}

/** Return a stroke without what lies behind the convex outline of the strokes `front`: the parts that remain visible. */
export function visibleParts(stroke, front) {
  const hull = convexHull(front.flat());
  if (hull.length < 3) return [stroke]; // a line hides nothing
  const dense = along(stroke);
  const shown = dense.map((point) => hull.some((corner, i) => turn(corner, hull[(i + 1) % hull.length], point) < 0));
  if (shown.every(Boolean)) return [stroke];
  const parts = [];
  dense.forEach((point, i) => {
    if (!shown[i]) return;
    if (!shown[i - 1]) parts.push([]);
    parts.at(-1).push(point);
  });
  return parts.filter((part) => part.length > 2);
}

const turn = ([ax, ay], [bx, by], [cx, cy]) => (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);

/** Return the corners of the convex outline of points (Andrew 1979). */
function convexHull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (all) => {
    const chain = [];
    for (const point of all) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}
