// A dialog that asks before something is done, and says what it will do.

import { byId, html } from "./element.js";

function control({ id, label, options, type, ...rest }) {
  if (options) {
    const choices = options.map(([value, text]) => html("option", { value }, text));
    return [html("label", { for: id }, label), html("select", { id, ...rest }, choices)];
  }
  if (type === "checkbox") {
    return html("label", { class: "check", for: id }, html("input", { id, type, ...rest }), label);
  }
  return [html("label", { for: id }, label), html("input", { id, type, ...rest })];
}

/// What a field of the form holds.
export function value(form, id) {
  const field = form.querySelector(`#${id}`);
  return field.type === "checkbox" ? field.checked : field.value.trim();
}

/// Asks in a dialog. `effect` says what would happen; `act` runs when it is confirmed, and an error of
/// it stays on the dialog.
export function ask({ title, fields = [], effect, confirm, dangerous = false, act }) {
  const dialog = byId("dialog");
  const alert = html("p", { role: "alert", class: "error" });
  const told = html("p", { class: "effect", "aria-live": "polite" });
  const submit = html("button", { class: dangerous ? "dangerous" : "primary", id: "confirm" }, confirm);
  const cancel = html("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  const form = html("form", { method: "dialog" },
    fields.map(control), told, alert, html("div", { class: "buttons" }, cancel, submit));
  // What is typed last is told, whichever answer comes last.
  let turn = 0;
  const tell = async () => {
    turn += 1;
    const own = turn;
    const text = await Promise.resolve(effect(form)).catch((error) => error.message);
    if (own === turn) told.textContent = text;
  };
  form.addEventListener("input", tell);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    submit.textContent = "Working …";
    alert.textContent = "";
    try {
      await act(form);
      // Another one may have been opened since.
      if (form.isConnected) dialog.close();
    } catch (error) {
      alert.textContent = error.message;
    } finally {
      submit.disabled = false;
      submit.textContent = confirm;
    }
  });
  dialog.replaceChildren(html("h2", { id: "dialog-title" }, title), form);
  dialog.showModal();
  tell();
}
