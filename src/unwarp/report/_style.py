"""The page's style sheet: quiet, readable, light and dark."""

from unwarp import plots

CSS = f"""
:root {{ color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: {plots.INK}; --muted: {plots.MUTED};
  --line: {plots.GRID}; --data: {plots.DATA}; --samples: {plots.SAMPLES}; --glow: 226, 115, 58; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #12161c; --card: #1a2028; --ink: #e8ebef; --muted: #98a4b3; --line: #343e4a; --data: #5bb8d4;
    --samples: #f29461; --glow: 242, 148, 97; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }}
header p {{ margin: 0; color: var(--muted); }}
h1 {{ font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 4px 0 12px; overflow-wrap: anywhere; }}
h2 {{ font-size: 18px; letter-spacing: -0.01em; margin: 0 0 4px; }}
.verdict {{ font-size: 18px; line-height: 1.5; max-width: 70ch; color: var(--ink) !important; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 24px 0; }}
.tile {{ background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }}
.tile b {{ display: block; font-size: 24px; font-weight: 600; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }}
.tile span {{ color: var(--muted); font-size: 13px; }}
section {{ background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px;
  margin: 16px 0; overflow-x: auto; }}
section > p {{ color: var(--muted); max-width: 82ch; margin: 0 0 14px; }}
figure {{ margin: 0; }}
svg {{ display: block; width: 100%; height: auto; }}
.two {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 24px; align-items: start; }}
table {{ border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th {{ text-align: right; font-weight: 500; color: var(--muted); padding: 5px 10px; border-bottom: 1px solid var(--line);
  vertical-align: bottom; }}
td {{ text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }}
tr:last-child td {{ border-bottom: 0; }}
.text {{ text-align: left; white-space: normal; overflow-wrap: break-word; }}
.strange td, .strange th {{ padding: 5px 7px; }}
.why {{ min-width: 170px; font-size: 12.5px; }}
.key {{ display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin: 0 4px 0 10px; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 8px 0 0; font-size: 14px; }}
dt {{ color: var(--muted); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
footer {{ color: var(--muted); font-size: 13px; margin-top: 24px; }}
@media print {{ section, .tile {{ break-inside: avoid; }} body {{ background: none; }} }}
"""
