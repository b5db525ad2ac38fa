"""Draws the figures of the gateway's bench as SVG. Nothing but text: a browser or GitHub shows it."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 340, 70, 50, 40, 20
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")


def ticks(most):
    """About five round numbers up to `most`."""
    step = 1
    while most / step > 6:
        step = next(it for it in (step * 2, step * 5, step * 10) if str(it)[0] in "125" and it > step)
    return [step * count for count in range(int(most / step) + 1)]


def chart(title, across, up, lines):
    """An SVG of lines: (name, [(x, y), ...]). Axes begin at zero."""
    most_x = max(x for _, points in lines for x, _ in points) or 1
    most_y = max(y for _, points in lines for _, y in points) * 1.05 or 1
    place_x = lambda x: LEFT + x / most_x * (WIDTH - LEFT - RIGHT)  # noqa: E731
    place_y = lambda y: HEIGHT - BOTTOM - y / most_y * (HEIGHT - BOTTOM - TOP)  # noqa: E731
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{title}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{across}</text>',
        f'<text x="8" y="{TOP - 6}">{up}</text>',
    ]
    for value in ticks(most_y):
        y = place_y(value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    for value in ticks(most_x):
        out.append(f'<text x="{place_x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:,}</text>')
    for number, (name, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = LEFT + 150 * number
        out.append(f'<text x="{x}" y="{HEIGHT - 10}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>", ""])


def draw(runs, directory):
    """One file for memory, one for recovery, one for the arrivals at Ironic; of the runs that got that far."""
    files = {}

    def with_figure(key):
        return [run for run in runs if key in run]

    if len(with_figure("kib_after_churn")) > 1:
        kinds = (("idle", "kib_idle"), ("after a command each", "kib_after_a_command"), ("after churn", "kib_after_churn"))
        files["memory"] = chart("Memory of the gateway per agent, mutual TLS", "agents", "KiB", [
            (name, [(run["agents"], run[key]) for run in with_figure("kib_after_churn")]) for name, key in kinds])
        files["attach"] = chart("Until all agents have attached, started within one second", "agents", "s", [
            ("seconds", [(run["agents"], run["attach_seconds"]) for run in with_figure("attach_seconds")])])
    if killed := with_figure("killed"):
        files["recovery"] = chart("Agents attached again after kill -9 of the gateway", "seconds from its new start", "agents", [
            (f"{run['agents']:,} agents", run["killed"]["curve"]) for run in killed])
    for run in runs:
        # Of a small fleet perhaps no agent has had to beat since.
        if any(it["beats_by_second"] for it in run.get("outages", {}).values()):
            files["arrivals"] = chart(f"Heartbeats at Ironic after an outage, {run['agents']:,} agents",
                                      "seconds from Ironic's return", "beats in a second", [
                (f"outage of {seconds} s", list(enumerate(it["beats_by_second"]))) for seconds, it in run["outages"].items()])
    for name, text in files.items():
        (directory / f"gateway-{name}.svg").write_text(text)
