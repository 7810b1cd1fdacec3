"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches; // a finger scrolls the page, it does not zoom a plot
  const LINES = ["#2b7bba", "#d9721e", "#3a9a5b", "#a45bb5", "#b8912a", "#c8506b", "#4f9aa3", "#8a7564", "#7c86d6", "#7f8a93"];
  const printed = () => document.documentElement.classList.contains("print");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads some tags in texts.
  const text = (s) => s.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  // The end of a name, in which runs of a sweep differ, as long as a line of a legend is.
  const named = (name, place) => {
    const most = Math.max(16, Math.floor(place.clientWidth / 6.5) - 8);
    return text(name.length > most ? `…${name.slice(1 - most)}` : name);
  };

  function scale() {
    return [[0, style("--worst")], [0.5, style("--middle")], [1, style("--best")]];
  }

  function between(place) {
    const stops = scale().map((stop) => stop[1].match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16)));
    const [from, to] = place < 0.5 ? [stops[0], stops[1]] : [stops[1], stops[2]];
    const way = place < 0.5 ? 2 * place : 2 * place - 1;
    return `rgb(${from.map((value, i) => Math.round(value + way * (to[i] - value))).join()})`;
  }

  function common() {
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style("--sans"), size: 12, color: style("--soft") },
      hoverlabel: { bgcolor: style("--paper"), bordercolor: style("--line"), font: { color: style("--ink") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--faint"), activecolor: style("--accent") },
    };
  }

  const SMOOTHED = 10; // points that a curve has at least to be smoothed

  // Exponential moving average, without the pull of its beginning.
  function smoothed(values, weight) {
    let [sum, all] = [0, 0];
    return values.map((value) => {
      [sum, all] = [weight * sum + value, weight * all + 1];
      return sum / all;
    });
  }

  function lines(shown, log, smoothing, place) {
    const many = shown.lines.length;
    const axisName = shown.axis === "images" ? "images seen" : shown.axis;
    const ranked = shown.lines.some((line) => "rank" in line);
    const positive = shown.lines.every((line) => line.y.every((y) => y > 0));
    const traces = shown.lines.flatMap((line, i) => {
      const trace = {
        type: "scatter",
        name: named(line.name, place),
        x: line.x,
        y: line.y,
        mode: line.x.length > 40 ? "lines" : line.x.length > 1 ? "lines+markers" : "markers",
        marker: { size: line.x.length > 1 ? 4 : 9 },
        cliponaxis: line.x.length > 1,
        line: { width: 1.6, color: ranked ? between(line.rank) : LINES[i % LINES.length] },
        hovertemplate: ranked ? "%{y:.5~g}<br>%{x:,.4~g} " + text(axisName) : "%{y:.5~g}",
        showlegend: many > 1 && many <= 12,
      };
      trace.marker.color = trace.line.color;
      if (!smoothing || line.x.length < SMOOTHED) return [trace];
      const faint = { ...trace, opacity: 0.25, showlegend: false, hoverinfo: "skip", hovertemplate: undefined };
      return [faint, { ...trace, mode: "lines", y: smoothed(line.y, smoothing) }];
    });
    if (ranked) traces.reverse(); // the best on top
    const axis = { gridcolor: style("--grid"), linecolor: style("--line"), zeroline: false, automargin: true };
    const rows = many > 1 && many <= 12 ? Math.ceil(many / Math.max(1, Math.floor(place.clientWidth / 130))) : 0;
    place.style.height = `${(ranked ? 340 : 240) + 20 * rows}px`;
    const mark = shown.best === null ? [] : [shown.best];
    const isLog = log && positive;
    const logs = shown.lines.flatMap((line) => line.y).map(Math.log10);
    const spread = isLog ? [Math.min(...logs), Math.max(...logs)] : [];
    const room = Math.max(0.05 * (spread[1] - spread[0]), 0.02) + (spread[0] === spread[1] ? 0.5 : 0);
    const single = shown.x_range[0] === -1 && shown.x_range[1] === 1; // a point at 0 is all there is
    const layout = {
      ...common(),
      margin: { l: 48, r: 14, t: 24, b: 40 },
      xaxis: { ...axis, title: { text: axisName, standoff: 6 }, tickformat: ["images", "step"].includes(shown.axis) ? "~s" : "", hoverformat: ",.4~g", nticks: 7, range: [...shown.x_range], ...(single ? { tickvals: [0] } : {}) },
      yaxis: {
        ...axis, type: isLog ? "log" : "linear", nticks: 6, exponentformat: "power",
        range: isLog ? [spread[0] - room, spread[1] + room] : [...shown.y_range],
        ...(shown.monitor ? { title: { text: text(shown.monitor), standoff: 6 } } : {}),
      },
      hovermode: ranked ? "closest" : "x unified",
      dragmode: coarse ? false : "zoom",
      legend: {
        orientation: "h", x: 0, xanchor: "left", y: -56 / (ranked ? 280 : 180), yanchor: "top", traceorder: ranked ? "reversed" : "normal",
        font: { size: 11 }, itemwidth: 30,
      },
      shapes: mark.map((x) => ({
        type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: style("--faint"), width: 1, dash: "dot" },
      })),
      annotations: mark.map((x) => ({
        x, y: 1, yref: "paper", yanchor: "top", xanchor: "right", text: "best", showarrow: false, font: { size: 10 },
      })),
    };
    return [traces, layout];
  }

  function parallel(shown, place) {
    const last = shown.axes.length - 1;
    const line = style("--line");
    const room = 20 + 6.5 * Math.max(...shown.axes[0].ticks.map((tick) => tick[1].length), 8);
    place.style.minWidth = `${110 * last + room + 60}px`;
    place.style.height = "380px";
    const all = (i) => shown.axes.map((axis) => `${text(axis.label)} = ${text(axis.texts[i])}`).join("<br>");
    const traces = shown.names.map((name, i) => ({
      type: "scatter",
      name: text(name),
      x: shown.axes.map((_, at) => at),
      y: shown.axes.map((axis) => axis.places[i]),
      mode: "lines+markers",
      marker: { size: 5 },
      cliponaxis: false,
      line: { width: 2, color: between(shown.axes[last].places[i]) },
      hovertemplate: `<b>${text(name)}</b><br>${all(i)}<extra></extra>`,
      showlegend: false,
    })).reverse(); // the best on top
    const label = (key) => {
      const cut = key.lastIndexOf(".") + 1;
      return cut ? `<span style="font-size:10px">${text(key.slice(0, cut))}</span><br>${text(key.slice(cut))}` : text(key);
    };
    // Of many axes every other label is higher, so that they do not meet.
    const apart = (printed() ? place.parentNode : place).clientWidth / Math.max(1, last);
    const widest = 6.5 * Math.max(...shown.axes.flatMap((axis) => axis.label.split(/(?<=.*)[.](?=[^.]*$)/)).map((part) => part.length));
    const higher = (at) => (at % 2 && apart < widest ? 0.1 : 0);
    const annotations = shown.axes.flatMap((axis, at) => [
      { x: at, y: 1.08 + higher(at), yanchor: "bottom", text: label(axis.label), showarrow: false, font: { color: style("--ink") } },
      ...axis.ticks.map(([y, tick]) => ({
        x: at, y, xanchor: at < last ? "right" : "left", xshift: at < last ? -6 : 6, text: text(tick), showarrow: false, font: { size: 11 },
        bgcolor: style("--paper"), borderpad: 1,
      })),
    ]);
    return [traces, {
      ...common(),
      margin: { l: room, r: 60, t: 10, b: 10 },
      xaxis: { visible: false, range: [-0.001, last + 0.001], fixedrange: true },
      yaxis: { visible: false, range: [-0.06, 1.3], fixedrange: true },
      hovermode: "closest",
      dragmode: false,
      annotations,
      shapes: shown.axes.map((_, at) => ({ type: "line", x0: at, x1: at, y0: 0, y1: 1, layer: "below", line: { color: line, width: 1 } })),
    }];
  }

  function draw(figure) {
    const place = figure.querySelector(".plot");
    figure.shown ??= JSON.parse(figure.querySelector("script").textContent);
    const within = figure.closest("section, details");
    const log = within.querySelector("input.log")?.checked && !figure.shown.monitor;
    const smoothing = figure.shown.monitor ? 0 : Number(within.querySelector("input.smooth")?.value ?? 0);
    const isLines = figure.shown.kind === "lines";
    const [traces, layout] = isLines ? lines(figure.shown, log, smoothing, place) : parallel(figure.shown, place);
    if (printed()) layout.width = figure.clientWidth;
    // The buttons are named, for among Plotly's own is one that sends the data to its maker.
    const buttons = figure.shown.kind === "lines" ? ["toImage", "resetScale2d"] : ["toImage"];
    figure.drawn = true;
    Plotly.react(place, traces, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [buttons], plotlyServerURL: "",
    });
  }

  const figures = [...document.querySelectorAll("figure.panel")];
  const again = (within = document) => figures.filter((figure) => figure.drawn && within.contains(figure)).forEach(draw);
  // One at a time, so that the page can be read meanwhile; what is folded away waits until it is opened.
  function next() {
    const figure = figures.find((one) => !one.drawn && !one.closest("details:not([open])"));
    if (figure) {
      draw(figure);
      setTimeout(next);
    }
  }
  next();
  document.addEventListener("toggle", next, true);
  dark.addEventListener("change", () => again());
  for (const input of document.querySelectorAll("input.log")) {
    input.addEventListener("change", () => again(input.closest("section, details")));
  }

  for (const input of document.querySelectorAll("input.smooth")) {
    const said = input.parentNode.querySelector("output");
    const say = () => { said.textContent = Number(input.value) ? Number(input.value).toFixed(2) : "none"; };
    input.addEventListener("input", say);
    input.addEventListener("change", () => again(input.closest("section, details")));
    say();
  }

  // On paper everything is light, and curves are as wide as a column of it.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("print");
    again();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("print");
    again();
  });

  for (const place of document.querySelectorAll(".frames")) {
    const frames = [...place.querySelectorAll(".frame")];
    const input = place.querySelector("input");
    if (!input) continue;
    const said = place.querySelector("output");
    const show = (at) => {
      frames.forEach((frame, i) => { frame.hidden = i !== at; });
      said.textContent = `${at + 1} of ${frames.length}`;
      input.value = at;
    };
    const button = place.querySelector("button.play");
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      button.textContent = "stop";
      let at = Number(input.value) < frames.length - 1 ? Number(input.value) : -1;
      timer = setInterval(() => (at < frames.length - 1 ? show(++at) : stop()), 500);
    });
    input.addEventListener("input", () => {
      stop();
      show(Number(input.value));
    });
    show(frames.length - 1);
  }

  for (const button of document.querySelectorAll("button.zoom")) {
    button.addEventListener("click", () => button.closest("figure").classList.toggle("full"));
  }

  function open() {
    const target = document.getElementById(location.hash.slice(1));
    if (target?.matches("details")) {
      target.open = true;
      target.scrollIntoView();
    }
  }
  addEventListener("hashchange", open);
  open();

  for (const head of document.querySelectorAll("table.ranking th")) {
    head.addEventListener("click", () => {
      const body = head.closest("table").tBodies[0];
      const column = head.cellIndex;
      const down = head.ariaSort === "ascending";
      head.parentNode.querySelectorAll("th").forEach((other) => { other.ariaSort = null; });
      head.ariaSort = down ? "descending" : "ascending";
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const missing = (row) => row.cells[column].textContent === "";
      const rows = [...body.rows].sort((one, other) => {
        if (missing(one) || missing(other)) return missing(one) - missing(other);
        const [left, right] = [key(one), key(other)];
        const order = left - right; // not a number where one of them is none
        return (down ? -1 : 1) * (Number.isNaN(order) ? left.localeCompare(right, undefined, { numeric: true }) : order);
      });
      body.append(...rows);
    });
  }
})();
