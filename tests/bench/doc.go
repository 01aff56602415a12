// Package bench compares costs of ways to do the same work: rendering a session
// beside Helm's own path (go test -bench), and whole desktops on a real control
// plane with made-up nodes, beside a raw client and other operators (command
// vdi-bench). It asserts no times: machines differ; the numbers are for people,
// side by side.
//
// plan.go says what is measured, scenario.go how, contender.go by whom, report.go
// and plot.go what is shown. Each step has a control plane of its own.
package bench
