// How the widget looks. A page themes it by the custom properties --webcall-…; nothing else of its style
// comes in: what is important in here wins over what is important out there.

export const STYLE = `
:host {
  all: initial !important;
  display: block !important;
  position: fixed !important;
  inset: auto var(--webcall-inset, 1.25em) calc(var(--webcall-inset, 1.25em) + var(--webcall-turn, 0) * 4em) auto !important;
  z-index: var(--webcall-z-index, 2147483000) !important;
}
:host([inline]) {
  display: inline-block !important;
  position: relative !important;
  inset: auto !important;
  z-index: var(--webcall-z-index, auto) !important;
}
:host([hidden]) { display: none !important; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.all {
  --accent: var(--webcall-accent, #0b6b61);
  --accent-text: var(--webcall-accent-text, #ffffff);
  --background: var(--webcall-background, #ffffff);
  --text: var(--webcall-text, #17212b);
  --quiet: var(--webcall-quiet, #52606d);
  --edge: var(--webcall-edge, #7b8794);
  --mine: var(--webcall-mine, #eaeef3);
  --bad: #a3242c;
  --bad-soft: #fdecec;
  --radius: var(--webcall-radius, 0.75em);
  color-scheme: light;
  color: var(--text);
  font: 1em/1.45 var(--webcall-font, system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif);
  text-align: start;
}
.all.dark {
  --accent: var(--webcall-accent, #5ed0c0);
  --accent-text: var(--webcall-accent-text, #06231f);
  --background: var(--webcall-background, #171e24);
  --text: var(--webcall-text, #e8edf1);
  --quiet: var(--webcall-quiet, #a3b1bd);
  --edge: var(--webcall-edge, #71808d);
  --mine: var(--webcall-mine, #232d36);
  --bad: #ff9d9d;
  --bad-soft: #3a1d20;
  color-scheme: dark;
}
button, input { font: inherit; color: inherit; margin: 0; }
button {
  display: inline-flex; align-items: center; justify-content: center; gap: 0.5em;
  min-height: 2.75em; padding: 0.4em 1em; cursor: pointer;
  background: transparent; border: 1px solid var(--edge); border-radius: var(--radius);
}
button:disabled { cursor: default; opacity: 0.6; }
button:focus-visible, input:focus-visible, .transcript:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px;
}
.primary, .launcher { background: var(--accent); color: var(--accent-text); border-color: transparent; font-weight: 600; }
.launcher { border-radius: 2em; padding-inline: 1.25em; box-shadow: 0 2px 12px rgb(0 0 0 / 25%); }
.danger { color: var(--bad); border-color: var(--bad); }
svg { width: 1.25em; height: 1.25em; fill: currentColor; flex: none; }
.panel {
  position: absolute; inset: auto 0 calc(100% + 0.75em) auto;
  display: flex; flex-direction: column; gap: 0.75em;
  width: min(23em, 100vw - 2.5em); max-height: min(36em, 100vh - 7em); max-height: min(36em, 100dvh - 7em);
  padding: 1em; overflow: auto; background: var(--background);
  border: 1px solid var(--edge); border-radius: var(--radius); box-shadow: 0 8px 32px rgb(0 0 0 / 25%);
  animation: in 0.15s ease-out;
}
:host([inline]) .panel { inset: calc(100% + 0.75em) auto auto 0; }
@media (max-width: 30em) {
  .panel, :host([inline]) .panel { position: fixed; z-index: 1; inset: auto 0.75em 0.75em; width: auto; max-height: calc(100vh - 1.5em); max-height: calc(100dvh - 1.5em); }
}
@keyframes in { from { opacity: 0; transform: translateY(0.5em); } }
header { display: flex; align-items: center; justify-content: space-between; gap: 0.5em; }
h2 { margin: 0; font-size: 1.125em; outline: none; overflow-wrap: anywhere; }
.close { min-height: 2.25em; padding: 0.4em; border-color: transparent; }
p { margin: 0; overflow-wrap: anywhere; }
.state, .who { color: var(--quiet); }
.who { font-size: 0.8125em; }
.notice { padding: 0.6em 0.8em; border-radius: var(--radius); background: var(--bad-soft); color: var(--bad); }
.notice[data-tone="calm"] { background: var(--mine); color: var(--text); }
.transcript { display: flex; flex-direction: column; gap: 0.5em; flex: 1 1 auto; min-height: 7em; max-height: 18em; overflow-y: auto; overscroll-behavior: contain; border-radius: var(--radius); }
.entry { max-width: 90%; padding: 0.4em 0.75em; border: 1px solid var(--edge); border-radius: var(--radius); align-self: flex-start; }
.entry[data-from="you"] { align-self: flex-end; background: var(--mine); border-color: transparent; }
.entry[data-from="service"] { border-style: dashed; }
.entry[data-failed="true"] { border: 1px solid var(--bad); }
.words { white-space: pre-wrap; }
form { display: flex; gap: 0.5em; }
input { flex: 1; min-width: 0; min-height: 2.75em; padding: 0.4em 0.75em; background: var(--background); border: 1px solid var(--edge); border-radius: var(--radius); }
input::placeholder { color: var(--quiet); opacity: 1; }
.buttons { display: flex; flex-wrap: wrap; gap: 0.5em; }
.buttons > * { flex: 1 1 auto; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) { .panel { animation: none; } }
@media (forced-colors: active) { .primary, .launcher { border-color: ButtonText; } }
`;
