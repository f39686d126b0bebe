// Keeps the page of a long operation up to date until the operation has ended.
"use strict";

const BETWEEN_LOOKS = 1000;
const AFTER_A_FAILURE = 5000;

function show(page, facts) {
  const part = (name) => page.querySelector(`[data-${name}]`);
  part("label").textContent = facts.label;
  part("label").className = `sg-badge sg-${facts.tone}`;
  part("amount").textContent = facts.amount;
  part("left").textContent = facts.left ? `about ${facts.left} left` : "";
  part("bar").value = facts.percent;
  part("outcome").textContent = facts.outcome;
  part("leads").hidden = !facts.leads_to;
  part("leads").querySelector("a").href = facts.leads_to;
  part("leads-label").textContent = facts.leads_label;
  if (!facts.is_running) {
    page.querySelectorAll("[data-while-running]").forEach((element) => element.remove());
  }
}

async function look(page) {
  let pause = BETWEEN_LOOKS;
  try {
    const response = await fetch(page.dataset.operation, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error(`${response.status}`);
    const facts = await response.json();
    show(page, facts);
    if (!facts.is_running) return;
  } catch {
    pause = AFTER_A_FAILURE; // the connection is away or the console is locked: ask less often
  }
  setTimeout(look, pause, page);
}

document.addEventListener("DOMContentLoaded", () => {
  const page = document.querySelector("[data-operation]");
  if (page && page.dataset.state === "running") look(page);
});
