// Cameras over the API: try, add, start, stop, remove, and areas drawn on the picture.
"use strict";
(() => {
  const API = "/api/v1/cameras";
  const token = JSON.parse(document.body.getAttribute("hx-headers:inherited") || "{}");
  const ask = async (path, method = "GET", body = undefined) => {
    const headers = { ...token, ...(body ? { "Content-Type": "application/json" } : {}) };
    const answer = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) })
      .catch(() => { throw new Error(document.getElementById("notice").dataset.failed); });
    if (answer.status === 401) location.href = "/log-in";
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || String(answer.status));
  };
  const say = (place, text, problem = false) => {
    place.textContent = text;
    place.className = problem ? "problem" : "good";
  };
  const work = async (place, button, act) => {
    button.disabled = true;
    say(place, "");
    try { await act(); } catch (error) { say(place, error.message, true); }
    button.disabled = false;
  };

  // --- add one, after a look at its picture ---
  const form = document.querySelector("[data-add-camera]");
  if (form) {
    const place = form.querySelector("[data-said]");
    const picture = form.querySelector("img");
    const { name, url } = form.elements;
    const test = form.querySelector("[data-test]");
    test.addEventListener("click", () => url.reportValidity() && work(place, test, async () => {
      picture.hidden = true;
      place.textContent = form.dataset.waiting;
      const answer = await ask("/test", "POST", { url: url.value.trim() });
      if (picture.src) URL.revokeObjectURL(picture.src);
      picture.src = URL.createObjectURL(await answer.blob());
      await picture.decode();
      picture.hidden = false;
      say(place, `${form.dataset.found} ${picture.naturalWidth} × ${picture.naturalHeight}`);
    }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      work(place, event.submitter, async () => {
        await ask("", "POST", { name: name.value.trim(), url: url.value.trim() });
        location.reload();
      });
    });
  }

  // --- start, stop, remove ---
  const one = document.querySelector("[data-one]");
  if (!one) return;
  const path = `/${encodeURIComponent(one.dataset.one)}`;
  const said = one.querySelector("[data-said]");
  one.querySelectorAll("[data-switch]").forEach((button) => button.addEventListener("click", () =>
    work(said, button, async () => { await ask(`${path}/${button.dataset.switch}`, "POST"); location.reload(); })));
  const remove = one.querySelector("[data-remove]");
  if (remove) remove.addEventListener("click", () => confirm(remove.dataset.remove)
    && work(said, remove, async () => {
      await ask(path, "DELETE");
      location.href = "/live";
    }));
})();
