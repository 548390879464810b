// Areas of a camera, drawn on its picture with pointer or keys; kept as fractions of the picture.
"use strict";
(() => {
  const root = document.querySelector("[data-areas]");
  if (!root) return;
  const words = root.dataset;
  const path = `/api/v1/cameras/${encodeURIComponent(words.areas)}`;
  const token = JSON.parse(document.body.getAttribute("hx-headers:inherited") || "{}");
  const find = (name) => root.querySelector(`[data-${name}]`);
  const scene = find("scene");
  const svg = scene.querySelector("svg");
  const picture = scene.querySelector("img");
  const buttons = root.querySelectorAll("[data-act]");
  const said = find("said");
  const kind = find("kind");
  let areas = []; // {kind: "watch" or "mask", points: [[x, y], …]}
  let chosen = null; // [area, point]
  const past = [];

  const say = (text, problem = false) => { said.textContent = text; said.className = problem ? "problem" : "good"; };
  const inside = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;
  const remember = () => { past.push(JSON.stringify(areas)); say(""); };
  const at = (event) => {
    const box = scene.getBoundingClientRect();
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  };
  const points = (one) => one.points.map((point) => point.join(",")).join(" ");
  const label = (handle, one, a, p) => {
    const [x, y] = one.points[p].map((value) => `${Math.round(value * 100)} %`);
    handle.setAttribute("aria-label", `${words[one.kind]} ${a + 1}, ${words.point} ${p + 1}: ${x}, ${y}`);
    handle.style.left = `${one.points[p][0] * 100}%`;
    handle.style.top = `${one.points[p][1] * 100}%`;
  };
  const move = (handle, a, p, to) => {
    areas[a].points[p] = to.map(inside);
    svg.children[a].setAttribute("points", points(areas[a]));
    label(handle, areas[a], a, p);
  };
  const draw = () => {
    svg.replaceChildren(...areas.map((one) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      shape.setAttribute("class", one.kind);
      shape.setAttribute("points", points(one));
      return shape;
    }));
    scene.querySelectorAll("button").forEach((handle) => handle.remove());
    areas.forEach((one, a) => one.points.forEach((_, p) => {
      const handle = document.createElement("button");
      handle.type = "button";
      handle.className = "handle";
      label(handle, one, a, p);
      handle.addEventListener("focus", () => choose(a, p));
      handle.addEventListener("pointerdown", (event) => {
        event.stopPropagation();
        handle.focus();
        remember();
        handle.setPointerCapture(event.pointerId);
      });
      handle.addEventListener("pointermove", (event) => {
        if (handle.hasPointerCapture(event.pointerId)) move(handle, a, p, at(event));
      });
      handle.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!way) return;
        event.preventDefault();
        remember();
        const step = event.shiftKey ? 0.05 : 0.01;
        move(handle, a, p, one.points[p].map((value, axis) => value + way[axis] * step));
      });
      scene.append(handle);
    }));
    choose(...(chosen || []));
  };
  const choose = (a, p) => {
    chosen = areas[a] && areas[a].points[p] ? [a, p] : null;
    let number = 0;
    const handles = [...scene.querySelectorAll("button")];
    areas.forEach((one, i) => one.points.forEach((_, j) => {
      handles[number++].classList.toggle("chosen", Boolean(chosen) && i === a && j === p);
    }));
  };
  const focus = () => { const handle = scene.querySelector(".chosen"); if (handle) handle.focus(); };
  const add = ([left, top], [right, bottom]) => {
    remember();
    areas.push({ kind: kind.value, points: [[left, top], [right, top], [right, bottom], [left, bottom]] });
    chosen = [areas.length - 1, 0];
    draw();
    focus();
  };

  let start = null;
  svg.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    start = at(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointercancel", () => { start = null; });
  svg.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [from, to] = [start, at(event)];
    start = null;
    const [left, right] = [from[0], to[0]].sort((a, b) => a - b);
    const [top, bottom] = [from[1], to[1]].sort((a, b) => a - b);
    if (right - left > 0.02 && bottom - top > 0.02) {
      add([left, top], [right, bottom]);
    } else if (chosen) {
      remember();
      areas[chosen[0]].points[chosen[1]] = to;
      draw();
      focus();
    }
  });

  const acts = {
    add: () => add([0.3, 0.3], [0.7, 0.7]),
    point: () => {
      if (!chosen) return;
      remember();
      const [a, p] = chosen;
      const [one, next] = [areas[a].points[p], areas[a].points[(p + 1) % areas[a].points.length]];
      areas[a].points.splice(p + 1, 0, [inside((one[0] + next[0]) / 2), inside((one[1] + next[1]) / 2)]);
      chosen = [a, p + 1];
      draw();
      focus();
    },
    "delete-point": () => {
      if (!chosen || areas[chosen[0]].points.length < 4) return;
      remember();
      areas[chosen[0]].points.splice(chosen[1], 1);
      chosen = [chosen[0], 0];
      draw();
    },
    "delete-area": () => {
      if (!chosen) return;
      remember();
      areas.splice(chosen[0], 1);
      chosen = null;
      draw();
    },
    undo: () => { if (past.length) { areas = JSON.parse(past.pop()); draw(); } },
    save: async () => {
      const of = (wanted) => areas.filter((one) => one.kind === wanted).map((one) => one.points);
      const body = JSON.stringify({ watch: of("watch"), mask: of("mask") });
      const headers = { ...token, "Content-Type": "application/json" };
      const answer = await fetch(path, { method: "PATCH", headers, body }).catch(() => null);
      if (answer && answer.ok) { say(words.saved); return; }
      const problem = answer ? await answer.json().catch(() => ({})) : {};
      say(problem.detail || document.getElementById("notice").dataset.failed, true);
    },
  };
  buttons.forEach((one) => one.addEventListener("click", acts[one.dataset.act]));

  // Nothing can be drawn or saved before the areas of now are here: saving would remove them.
  fetch(`${path}/settings`).then(async (answer) => {
    const settings = await answer.json();
    if (!answer.ok) { say(settings.detail, true); return; }
    areas = ["watch", "mask"].flatMap((one) => settings[one].map((points) => ({ kind: one, points })));
    buttons.forEach((one) => { one.disabled = false; });
    scene.inert = false;
    draw();
  }).catch(() => say(document.getElementById("notice").dataset.failed, true));

  // A camera that just connects has no picture yet.
  const arrived = () => scene.classList.toggle("waiting", !picture.naturalWidth);
  picture.addEventListener("load", arrived);
  picture.addEventListener("error", () => setTimeout(() => { picture.src = picture.dataset.src; }, 2000));
  picture.src = picture.dataset.src;
})();
