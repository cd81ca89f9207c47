// Keeps the sizes within the machine that is chosen, searches the machines and tells the cost.
// Without it the hub still checks all that is sent.
(function () {
  "use strict";
  const field = (name) => document.getElementById("skyport-" + name);
  const machine = field("machine");
  if (!machine) return;
  const help = field("machine-help");
  const usual = help.textContent;
  const sizes = ["cpus", "memory", "gpus"];
  const region = field("region");
  const spot = field("spot");
  const keep = field("keep");
  const walltime = field("walltime");
  const cost = field("cost");
  const search = field("search");

  function regionsOf(option) {
    return option.dataset.regions ? JSON.parse(option.dataset.regions) : [];
  }

  // The price of a region by what kind of machine was chosen; null: none is known.
  function priceOf(one) {
    const kind = spot ? spot.value : "";
    const prices = kind === "yes" ? [one.spot] : kind === "any" ? [one.spot, one.price] : [one.price];
    const known = prices.filter((price) => price !== null);
    return known.length ? Math.min(...known) : null;
  }

  function tellCost(option) {
    if (!cost) return;
    const wanted = regionsOf(option).filter((one) => !region || !region.value || one.name === region.value);
    const priced = wanted.map((one) => [priceOf(one), one.name]).filter((pair) => pair[0] !== null);
    priced.sort((a, b) => a[0] - b[0]);
    cost.hidden = !priced.length;
    if (!priced.length) return;
    const [price, name] = priced[0];
    const symbol = option.dataset.symbol || "$";
    let text = symbol + price.toPrecision(3) + " per hour in " + name;
    const seconds = walltime ? Number(walltime.value) : 0;
    if (seconds) {
      const most = (price * seconds) / 3600;
      text += ", at most " + symbol + most.toFixed(2) + " for the time chosen";
    }
    cost.textContent = text + ". Paid for while the machine runs, not while it waits or sleeps.";
  }

  function followRegions(option) {
    if (!region) return;
    const names = new Set(regionsOf(option).map((one) => one.name));
    for (const choice of region.options) {
      choice.disabled = Boolean(names.size && choice.value && !names.has(choice.value));
    }
    if (region.selectedOptions[0] && region.selectedOptions[0].disabled) region.value = "";
  }

  function follow() {
    const option = machine.selectedOptions[0];
    if (!option) return;
    help.textContent = option.dataset.description || usual;
    for (const name of sizes) {
      const input = field(name);
      if (!input) continue;
      const most = option.dataset[name] || input.dataset.limit || "";
      input.max = most;
      input.placeholder = most ? "default, at most " + most : "default";
      if (most && input.value && Number(input.value) > Number(most)) input.value = most;
    }
    if (keep) {
      keep.disabled = !option.dataset.keep;
      if (keep.disabled) keep.checked = false;
    }
    followRegions(option);
    tellCost(option);
  }

  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let first = null;
    for (const option of machine.options) {
      const text = (option.textContent + " " + (option.dataset.description || "")).toLowerCase();
      const found = words.every((word) => text.includes(word));
      option.hidden = !found;
      option.disabled = !found;
      if (found && !first) first = option;
    }
    const chosen = machine.selectedOptions[0];
    if (first && (!chosen || chosen.disabled)) machine.value = first.value;
    follow();
  }

  if (search) search.addEventListener("input", find);
  for (const input of [machine, region, spot, walltime]) {
    if (input) input.addEventListener("change", follow);
  }
  follow();
})();
