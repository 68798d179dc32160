package main

import (
	"fmt"
	"sort"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const width, height = 18 * vg.Centimeter, 11 * vg.Centimeter

// drawLatency draws one line per report over its percentiles, both axes
// logarithmic: the x axis is how many of how many messages are slower.
func drawLatency(reports []report, title, out string) error {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "percentile"
	p.Y.Label.Text = "latency from the intended time of sending, ms"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = plot.ConstantTicks{
		{Value: 2, Label: "50"}, {Value: 10, Label: "90"}, {Value: 100, Label: "99"}, {Value: 1000, Label: "99.9"}, {Value: 4000, Label: "max"},
	}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, r := range reports {
		l := r.flow().latency
		points := plotter.XYs{{X: 2, Y: l.P50}, {X: 10, Y: l.P90}, {X: 100, Y: l.P99}, {X: 1000, Y: l.P999}, {X: 4000, Y: l.Max}}
		for j := range points {
			points[j].Y = max(points[j].Y, 1) / 1000
		}
		if err := addLine(p, i, r.label(), points); err != nil {
			return err
		}
	}
	return p.Save(width, height, out)
}

// drawScaling draws CPU per delivery against the number of front ends, the
// deliveries per second at each point.
func drawScaling(reports []report, title, out string) error {
	sort.Slice(reports, func(i, j int) bool { return reports[i].Options.Frontends < reports[j].Options.Frontends })
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "front ends"
	p.Y.Label.Text = "server CPU per delivery, µs"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min = 0
	p.Add(plotter.NewGrid())
	points, names := make(plotter.XYs, len(reports)), make([]string, len(reports))
	for i, r := range reports {
		if r.Results.Server == nil {
			return fmt.Errorf("%s: no CPU time of the server in the report; run bench with --server-pid", r.label())
		}
		points[i] = plotter.XY{X: float64(r.Options.Frontends), Y: r.Results.Server.CPUPerDelivery}
		names[i] = perSecond(r.flow().perSecond)
	}
	if err := addLine(p, 0, "", points); err != nil {
		return err
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: points, Labels: names})
	if err != nil {
		return err
	}
	p.Add(labels)
	return p.Save(width, height, out)
}

func addLine(p *plot.Plot, i int, name string, points plotter.XYs) error {
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, dots.Color = plotutil.Color(i), plotutil.Color(i)
	line.Width = vg.Points(1.5)
	dots.Shape = plotutil.Shape(i)
	p.Add(line, dots)
	if name != "" {
		p.Legend.Add(name, line, dots)
	}
	return nil
}

// perSecond writes a rate with three digits.
func perSecond(rate float64) string {
	if k := rate / 1000; k < 999.5 {
		return fmt.Sprintf("%.3g k/s", k)
	}
	return fmt.Sprintf("%.3g M/s", rate/1e6)
}
