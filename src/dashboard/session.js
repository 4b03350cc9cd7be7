// Who looks at the page: the login by a token or by a link, and what the caller may do.

import * as api from "./api.js";
import { byId } from "./element.js";

const LINK = "#login=";

let caller = null;

/// Shows the page to a caller, with what it may do, or the login to none.
function show(reason = "") {
  const isReader = caller?.right === "read";
  document.body.classList.toggle("read-only", isReader);
  byId("read-only").hidden = !isReader;
  for (const button of document.querySelectorAll("button.change")) button.disabled = isReader;
  byId("logout").hidden = caller?.admitted_by !== "session";
  byId("dashboard").hidden = byId("footer").hidden = !caller;
  byId("login").hidden = Boolean(caller);
  byId("login-error").textContent = reason;
  if (caller) return;
  byId("verdict").textContent = "Not logged in";
  byId("verdict").className = "";
  byId("token").value = "";
  byId("token").focus();
}

/// Finds out who the caller is, unless that is known; an error if it is none.
export async function identify() {
  if (caller) return;
  caller = await api.session();
  show();
}

/// Whether an error says that the caller is not, or no longer, logged in.
export const isLoggedOut = (error) => error.status === 401;

/// Shows the login, in place of what can no longer be asked for.
export function askToLogIn() {
  const reason = caller ? "Your session has ended." : "";
  caller = null;
  byId("dialog").close();
  show(reason);
}

/// Whether the caller may change anything.
export const mayChange = () => caller?.right === "admin";

/// Calls `begin` now and after each login, `end` before another one and a logout.
export function startSession(begin, end) {
  const logIn = async (login) => {
    end();
    try {
      caller = await api.logIn(login);
      show();
      begin();
    } catch (error) {
      show(error.message);
    }
  };
  const takeLink = () => {
    if (!location.hash.startsWith(LINK)) return false;
    const code = location.hash.slice(LINK.length);
    // Neither the address bar nor the history keeps it.
    history.replaceState(null, "", location.pathname);
    logIn({ code });
    return true;
  };
  byId("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    logIn({ token: byId("token").value.trim() });
  });
  byId("logout").addEventListener("click", async () => {
    end();
    caller = null;
    await api.logOut().catch(() => {});
    show();
  });
  addEventListener("hashchange", takeLink);
  if (!takeLink()) begin();
}
