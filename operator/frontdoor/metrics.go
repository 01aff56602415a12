package frontdoor

import "github.com/prometheus/client_golang/prometheus"

// Metrics name no person, session or host.
type Metrics struct {
	logins, forwardAuth, resumes *prometheus.CounterVec
	followers                    prometheus.Gauge
}

// RegisterPeople registers the metric of the list of people, which mode Local alone has.
func RegisterPeople(registry prometheus.Registerer, usable func() bool) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vdi_frontdoor_people_usable", Help: "1 if the list of people in force is the one of the Secret, else 0: that one is missing or cannot be used (access mode Local).",
	}, func() float64 {
		if usable() {
			return 1
		}
		return 0
	}))
}

// NewMetrics registers the front door's metrics. Fullest is the size of the fullest
// ConfigMap of ended logins, in bytes ([ended.List.Fullest]).
func NewMetrics(registry prometheus.Registerer, fullest func() float64) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
	}
	m := &Metrics{
		logins:      counter("vdi_frontdoor_logins_total", "Steps of logins and logouts that ended, by result."),
		forwardAuth: counter("vdi_frontdoor_forward_auth_total", "Answers to the proxy, by result."),
		resumes:     counter("vdi_frontdoor_resumes_total", "Presses of the button Resume, by result."),
		followers:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "vdi_frontdoor_open_pages", Help: "Pages that are kept up to date."}),
	}
	registry.MustRegister(m.logins, m.forwardAuth, m.resumes, m.followers, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vdi_frontdoor_ended_logins_bytes", Help: "Size of the fullest ConfigMap of logins that were ended before their time; it may have 1 MiB.",
	}, fullest))
	return m
}
