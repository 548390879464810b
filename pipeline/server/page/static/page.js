// What HTML and htmx cannot do: times in the viewer's zone, dropped files, keys, live names.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const notice = document.getElementById("notice");
  const panel = document.getElementById("panel");
  const year = "; path=/; max-age=31536000; SameSite=Strict";

  // --- zone, language, theme ---
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `facestream-zone=${zone}${year}`;
  const forms = {
    clock: { hour: "2-digit", minute: "2-digit" },
    day: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
    full: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  };
  const showTimes = (root) => all("time[data-form]", root).forEach((one) => {
    const text = new Intl.DateTimeFormat(document.documentElement.lang, forms[one.dataset.form]);
    one.textContent = text.format(new Date(one.dateTime));
  });
  showTimes(document);
  all("[data-language]").forEach((one) => one.addEventListener("change", () => {
    document.cookie = `facestream-language=${one.value}${year}`;
    location.reload();
  }));
  all("[data-theme-switch]").forEach((one) => one.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("facestream-theme", root.dataset.theme);
  }));

  // --- notices ---
  const say = (text, problem = false) => {
    const line = document.createElement("p");
    line.textContent = text;
    if (problem) line.className = "problem";
    notice.replaceChildren(line);
  };
  const kept = sessionStorage.getItem("facestream-notice");
  if (kept) { sessionStorage.removeItem("facestream-notice"); say(kept); }
  document.addEventListener("done", (event) => {
    const text = event.detail.text;
    sessionStorage.setItem("facestream-notice", text);
    say(text);
  });
  document.addEventListener("htmx:response:error", (event) => {
    const { response, text } = event.detail.ctx;
    if (response.status === 401) { location.href = "/log-in"; return; }
    let detail = text;
    try { detail = JSON.parse(text).detail; } catch { /* it is no problem document */ }
    say(detail || notice.dataset.failed, true);
  });
  document.addEventListener("htmx:error", () => say(notice.dataset.failed, true));

  // --- the panel with one sighting ---
  let changed = false;
  document.addEventListener("htmx:after:swap", (event) => {
    showTimes(document);
    const ctx = event.detail.ctx;
    const target = ctx && (ctx.target instanceof Element ? ctx.target : document.querySelector(ctx.target));
    if (target && target.id === "panel-body" && !panel.open) {
      changed = false;
      panel.showModal();
    }
    if (ctx && /\/correct$/.test(ctx.request.action)) changed = true;
    watchDrops();
  });
  if (panel) {
    panel.addEventListener("click", (event) => {
      if (event.target === panel || event.target.closest("[data-close]")) panel.close();
    });
    panel.addEventListener("close", () => { if (changed) location.reload(); });
  }

  // --- files that are dropped or pasted ---
  const take = (label, files) => {
    const input = label.querySelector("input[type=file]");
    const list = new DataTransfer();
    [...files].slice(0, input.multiple ? 100 : 1).forEach((file) => list.items.add(file));
    if (!list.items.length) return;
    input.files = list.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const preview = (label, files) => {
    const place = label.querySelector("[data-previews]");
    all("img", place).forEach((one) => URL.revokeObjectURL(one.src));
    place.replaceChildren(...[...files].slice(0, 24).map((file) => {
      const picture = document.createElement("img");
      picture.src = URL.createObjectURL(file);
      picture.alt = file.name;
      return picture;
    }));
  };
  const watchDrops = () => all("[data-drop]").forEach((label) => {
    if (label.dataset.watched) return;
    label.dataset.watched = "yes";
    const input = label.querySelector("input[type=file]");
    ["dragenter", "dragover"].forEach((kind) => label.addEventListener(kind, (event) => {
      event.preventDefault();
      label.classList.add("over");
    }));
    label.addEventListener("dragleave", () => label.classList.remove("over"));
    label.addEventListener("drop", (event) => {
      event.preventDefault();
      label.classList.remove("over");
      take(label, event.dataTransfer.files);
    });
    input.addEventListener("change", () => {
      preview(label, input.files);
      const form = input.form;
      if (form && "submit" in form.dataset && input.files.length) form.requestSubmit();
    });
  });
  watchDrops();
  document.addEventListener("paste", (event) => {
    const label = document.querySelector("[data-paste] [data-drop]");
    if (label && event.clipboardData.files.length) take(label, event.clipboardData.files);
  });

  // --- unknown people by keyboard ---
  const clusters = document.querySelector("[data-clusters]");
  const move = (step) => {
    const found = all(".cluster", clusters);
    const now = found.indexOf(document.activeElement.closest(".cluster"));
    const next = found[Math.max(0, Math.min(found.length - 1, now + step))];
    if (next) next.focus();
  };
  if (clusters) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || panel.open) return;
      const typing = event.target.matches("input, select, textarea");
      const card = document.activeElement.closest(".cluster");
      const empty = typing && event.target.value === "";
      if (["ArrowRight", "ArrowLeft"].includes(event.key) && (!typing || empty)) {
        move(event.key === "ArrowRight" ? 1 : -1);
        event.preventDefault();
      } else if (event.key === "Escape" && typing && card) {
        card.focus();
      } else if (!typing && event.key === "u") {
        const undo = document.querySelector("[data-undo]");
        if (undo) undo.click();
      } else if (!typing && card && event.key === "i") {
        const ignore = card.querySelector("[data-ignore] button");
        if (ignore) ignore.click();
      } else if (!typing && card && document.activeElement === card && event.key.length === 1 && event.key !== " ") {
        const field = card.querySelector("input[name=name]");
        if (field) field.focus(); // the key itself is written into it
      }
    });
    document.addEventListener("htmx:before:request", (event) => {
      const card = event.target.closest(".cluster");
      if (card) clusters.dataset.next = (card.nextElementSibling || card.previousElementSibling || {}).id || "";
    });
    document.addEventListener("htmx:after:swap", () => {
      const next = document.getElementById(clusters.dataset.next);
      if (next && document.activeElement === document.body) next.focus();
    });
  }

  // --- what happens meanwhile ---
  const live = document.querySelector("[data-live]");
  const fresh = document.querySelector("[data-new-sightings]");
  if (live || fresh) {
    const kinds = ["identified", "left", ...(live ? ["source_state"] : [])];
    const events = new EventSource(`/api/v1/events?${kinds.map((one) => `type=${one}`).join("&")}`);
    const showStates = async () => {
      const answer = await fetch("/live").catch(() => null);
      if (!answer || !answer.ok) return;
      const now = new DOMParser().parseFromString(await answer.text(), "text/html");
      all("[data-camera]", now).forEach((one) => {
        const tile = all("[data-camera]", live).find((old) => old.dataset.camera === one.dataset.camera);
        if (tile) tile.querySelector("[data-status]").replaceWith(one.querySelector("[data-status]"));
      });
      showTimes(live);
    };
    const heard = (event) => {
      const data = JSON.parse(event.data);
      if (fresh && data.type === "left") {
        fresh.textContent = fresh.dataset.label;
        fresh.hidden = false;
      }
      const tile = live && all("[data-camera]", live).find((one) => one.dataset.camera === data.source);
      if (!tile) return;
      if (data.type === "source_state") { showStates(); return; }
      if (data.type === "identified") {
        const place = tile.querySelector("[data-names]");
        const line = document.createElement("span");
        line.textContent = data.name && data.name !== "unknown" ? data.name : live.dataset.unknown;
        place.prepend(line);
        while (place.children.length > 4) place.lastChild.remove();
      }
    };
    kinds.forEach((kind) => events.addEventListener(kind, heard));
    events.addEventListener("message", heard);
    addEventListener("pagehide", () => events.close());
    if (fresh) fresh.addEventListener("click", () => location.reload());
  }
  const renew = async (picture) => {
    const answer = await fetch(picture.dataset.snapshot).catch(() => null);
    const seen = picture.parentElement.querySelector(".no-picture");
    if (!answer || answer.status !== 200) return;
    const address = URL.createObjectURL(await answer.blob());
    if (picture.src) URL.revokeObjectURL(picture.src);
    picture.src = address;
    picture.hidden = false;
    seen.hidden = true;
  };
  const renewAll = async () => {
    if (!document.hidden) await Promise.all(all("[data-snapshot]").map(renew));
    setTimeout(renewAll, 1000);
  };
  if (live) renewAll();
})();
