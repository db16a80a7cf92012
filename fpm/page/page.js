// Keys and a look a minute. The page reads without it.
"use strict";
const links = document.querySelectorAll("nav a");
const search = document.getElementById("q");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && writing) return event.target.blur();
  if (writing) return;
  const number = "12345".indexOf(event.key);
  if (event.key.length === 1 && number >= 0) links[number].click();
  if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
});

if ("refreshes" in document.body.dataset) setInterval(async () => {
  if (document.hidden || document.activeElement === search) return;
  const silence = document.getElementById("silence");
  try {
    const answer = await fetch(location.href, { method: "HEAD" });
    if (answer.ok) return location.reload();
    silence.hidden = false;
  } catch { silence.hidden = false; }
}, 60000);
