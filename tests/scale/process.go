package scale

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// clockTick is the unit of processor times in /proc/PID/stat: USER_HZ, which
// Linux fixes at 100 a second for every architecture that Go supports.
const clockTick = 10 * time.Millisecond

// ProcessorTime is the user and system time of a process so far.
func ProcessorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	// The program's name, in brackets, may hold blanks (proc_pid_stat(5)).
	_, rest, found := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 13 {
		return 0, fmt.Errorf("processor time of process %d: unexpected form of /proc/PID/stat", pid)
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, fields 14 and 15 from the start
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// ResidentMemory is what a process holds in memory now, and at most held, in bytes.
func ResidentMemory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			_, err = fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes)
			now = kilobytes << 10
		case strings.HasPrefix(line, "VmHWM:"):
			_, err = fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes)
			peak = kilobytes << 10
		}
		if err != nil {
			return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
	}
	return now, peak, nil
}

// Metrics are the samples of a program's metrics server at HOST:PORT.
func Metrics(ctx context.Context, address string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", address, err)
	}
	return families, nil
}

// Reconciles is how many passes a controller has made, whatever their outcome.
func Reconciles(ctx context.Context, address, controller string) (int, error) {
	families, err := Metrics(ctx, address)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, metric := range families["controller_runtime_reconcile_total"].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "controller" && label.GetValue() == controller {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return int(sum), nil
}
