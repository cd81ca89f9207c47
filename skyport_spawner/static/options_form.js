// Keeps the sizes within the machine that is chosen. Without it the hub still checks them.
(function () {
  "use strict";
  const machine = document.getElementById("skyport-machine");
  if (!machine) return;
  const help = document.getElementById("skyport-machine-help");
  const usual = help.textContent;
  const sizes = ["cpus", "memory", "gpus"];

  function follow() {
    const option = machine.selectedOptions[0];
    help.textContent = option.dataset.description || usual;
    for (const name of sizes) {
      const input = document.getElementById("skyport-" + name);
      if (!input) continue;
      const most = option.dataset[name] || input.dataset.limit || "";
      input.max = most;
      input.placeholder = most ? "default, at most " + most : "default";
      if (most && input.value && Number(input.value) > Number(most)) input.value = most;
    }
  }

  machine.addEventListener("change", follow);
  follow();
})();
