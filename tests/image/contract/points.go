package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// points are the lines of a run, in their order.
var points = []string{"answers", "page", "writes", "log", "stops", "again"}

// passing are the folders outside of the home that a desktop may write: nobody expects
// anything there to last.
var passing = []string{"/dev", "/etc", "/proc", "/run", "/tmp", "/var"}

const (
	// logKept is how much of a log is read, in bytes; logShown how much of its end is shown.
	logKept, logShown = 1 << 20, 200
	pageTimeout       = 10 * time.Second
)

// judge runs the image twice on one home.
func (r *run) judge(ctx context.Context) ([]doctor.Line, error) {
	pod, answers, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	lines := []doctor.Line{doctor.Of("answers", r.howToAnswer(), answers)}
	if answers.State != doctor.Passed {
		return append(lines, notJudged(doctor.Unjudged("the desktop has not answered"), points[1:]...)...), nil
	}
	page, err := r.page(ctx, pod)
	if err != nil {
		return nil, err
	}
	lines = append(lines, doctor.Of("page", "let the desktop accept the login in its variables, or ask for none: the agent has asked already", page))
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settled):
	}
	lines = append(lines,
		doctor.Of("writes", "write below the home what must last; what need not belongs into /tmp, /run or /var", r.writes(pod)),
		doctor.Of("log", "do not print the environment", r.secrets(ctx)))
	stops, err := r.stops(ctx)
	if err != nil {
		return nil, err
	}
	lines = append(lines, doctor.Of("stops", "let the first process (ENTRYPOINT) end on SIGTERM; a shell hands it on with exec or a trap", stops))
	_, again, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	return append(lines, doctor.Of("again", "a home that is kept holds what the first life left, such as lock files: remove them at the start", again)), nil
}

func (r *run) howToAnswer() string {
	where := fmt.Sprintf("listen on port %d", r.plan.wanted.port)
	if path := r.plan.healthPath(); path != "" {
		where += fmt.Sprintf(" and answer GET %s with less than 400", path)
	}
	return where + "; the program must go on in the foreground, as the pod's user and without more rights"
}

// healthPath is what the agent asks for; "": an open port has to do.
func (p *Plan) healthPath() string {
	for _, arg := range p.pod.Spec.InitContainers[0].Args {
		if path, found := strings.CutPrefix(arg, "--desktop-health="); found {
			return path
		}
	}
	return ""
}

// endOf says how a desktop ended or why it cannot start; "" while neither is so.
func endOf(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		unknownClaim := strings.Contains(condition.Message, "persistentvolumeclaim") && strings.Contains(condition.Message, "not found") // we made it just now: the scheduler hears of it later
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && !unknownClaim {
			return "the pod fits on no node: " + condition.Message
		}
	}
	status := desktopStatus(pod)
	if status == nil {
		return ""
	}
	for _, ended := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
		switch {
		case ended == nil:
		case ended.Message != "" && ended.Reason != "Error" && ended.Reason != "Completed":
			return fmt.Sprintf("it did not start (%s): %s", ended.Reason, ended.Message)
		default:
			return fmt.Sprintf("it ended with code %d (%s) after %s", ended.ExitCode, ended.Reason, ended.FinishedAt.Sub(ended.StartedAt.Time))
		}
	}
	if waiting := status.State.Waiting; waiting != nil && strings.HasSuffix(waiting.Reason, "Error") {
		return fmt.Sprintf("it does not start (%s): %s", waiting.Reason, waiting.Message)
	}
	return ""
}

// silent says what the agent sees of a desktop that does not answer, and what listens instead.
func (r *run) silent(ctx context.Context, pod *corev1.Pod) doctor.Verdict {
	why := "the pod has no address yet"
	if pod.Status.PodIP != "" {
		answer, body, err := r.get(ctx, pod, wire.AgentStatusPort, wire.PathReady)
		switch {
		case err != nil:
			why = "the agent does not answer: " + err.Error()
		case answer == http.StatusOK:
			why = "it answers now, too late"
		default:
			why = strings.TrimSpace(body)
		}
	}
	open := "nothing listens"
	if pid, found := r.process(pod); found {
		if ports := listening(pid); len(ports) > 0 {
			open = "what listens are ports " + strings.Trim(fmt.Sprint(ports), "[]")
		}
	}
	return doctor.Fail("after %s: %s; %s; its log ends: %s", r.Patience, why, open, r.log(ctx, false))
}

// get asks the agent as the proxy would.
func (r *run) get(ctx context.Context, pod *corev1.Pod, port int64, path string) (code int, body string, err error) {
	client := &http.Client{
		Timeout:       pageTimeout,
		Transport:     &http.Transport{DialContext: r.node.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", pod.Status.PodIP, port, path), nil)
	if err != nil {
		return 0, "", err
	}
	request.Host = host
	request.SetBasicAuth(login, r.password)
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, logKept))
	return answer.StatusCode, string(content), err
}

// page asks for the desktop's page through the agent, which hands over the desktop's own login.
func (r *run) page(ctx context.Context, pod *corev1.Pod) (doctor.Verdict, error) {
	code, body, err := r.get(ctx, pod, wire.AgentVisitorPort, "/")
	switch {
	case err != nil:
		return doctor.Verdict{}, fmt.Errorf("ask the agent: %w", err)
	case code < http.StatusBadRequest:
		return doctor.Pass("GET / through the agent is answered %d with %d bytes", code, len(body)), nil
	}
	return doctor.Fail("GET / through the agent is answered %d; the agent says: %s", code, r.agentSays(ctx)), nil
}

// agentSays is the last error that the agent has logged.
func (r *run) agentSays(ctx context.Context) string {
	said := "nothing"
	for line := range strings.Lines(r.logOf(ctx, wire.ContainerAgent, false)) {
		var entry struct{ Level, Msg, Error string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "ERROR" {
			said = entry.Msg + ": " + entry.Error
		}
	}
	return said
}

// writes looks at what the container has written outside of its mounts.
func (r *run) writes(pod *corev1.Pod) doctor.Verdict {
	pid, found := r.process(pod)
	if !found {
		return doctor.Unjudged("no process of the desktop was found on this machine")
	}
	files, err := changed(pid)
	if err != nil {
		return doctor.Unjudged("what the container wrote cannot be read: %v", err)
	}
	lost := slices.DeleteFunc(slices.Clone(files), func(file string) bool {
		return slices.ContainsFunc(passing, func(folder string) bool { return strings.HasPrefix(file, folder+"/") })
	})
	if len(lost) > 0 {
		return doctor.Fail("it writes %s, which is lost at each stop: only %s is kept", some(lost), r.plan.wanted.home)
	}
	return doctor.Pass("outside of its home it wrote %d files, all in folders for what need not last", len(files))
}

// some names the first few.
func some(files []string) string {
	const most = 3
	if len(files) > most {
		return fmt.Sprintf("%s and %d more files", strings.Join(files[:most], ", "), len(files)-most)
	}
	return strings.Join(files, ", ")
}

// secrets looks for the desktop's password in its log, which many people may read.
func (r *run) secrets(ctx context.Context) doctor.Verdict {
	log := r.logOf(ctx, wire.ContainerDesktop, false)
	if strings.Contains(log, r.desktop) {
		return doctor.Fail("the desktop's password stands in its log")
	}
	return doctor.Pass("the desktop's password is not among the %d bytes of its log", len(log))
}

func (r *run) stops(ctx context.Context) (doctor.Verdict, error) {
	took, err := r.stop(ctx)
	if err != nil {
		return doctor.Verdict{}, err
	}
	grace := time.Duration(*r.plan.pod.Spec.TerminationGracePeriodSeconds) * time.Second
	if took >= grace {
		return doctor.Fail("it did not end on SIGTERM: after %s it was killed", grace), nil
	}
	return doctor.Pass("it ended %s after SIGTERM (it has %s)", took.Round(100*time.Millisecond), grace), nil
}

// process is one of the desktop's container.
func (r *run) process(pod *corev1.Pod) (pid int, found bool) {
	status := desktopStatus(pod)
	if status == nil {
		return 0, false
	}
	_, id, _ := strings.Cut(status.ContainerID, "://")
	pids, err := r.Cluster.PodProcesses(pod)
	if err != nil {
		return 0, false
	}
	return processOf(pids, id)
}

// log is the end of the desktop's log, of its last life where it has ended.
func (r *run) log(ctx context.Context, ended bool) string {
	text := strings.Join(strings.Fields(r.logOf(ctx, wire.ContainerDesktop, ended)), " ")
	text = strings.ReplaceAll(text, r.desktop, "(password)")
	switch {
	case text == "":
		return "(nothing)"
	case len(text) > logShown:
		return "… " + strings.ToValidUTF8(text[len(text)-logShown:], "")
	}
	return text
}

// logOf is what a container has said; "" where it cannot be read, or has not started.
func (r *run) logOf(ctx context.Context, container string, ended bool) string {
	limit := int64(logKept)
	var said bytes.Buffer
	for _, previous := range []bool{ended, false} {
		request := r.kube.CoreV1().Pods(r.namespace).GetLogs(sessionName, &corev1.PodLogOptions{Container: container, LimitBytes: &limit, Previous: previous})
		data, err := request.DoRaw(ctx)
		if err == nil && len(data) > 0 {
			said.Write(data)
			break
		}
	}
	return said.String()
}

// notJudged is the same for several points.
func notJudged(why doctor.Verdict, checks ...string) (lines []doctor.Line) {
	for _, check := range checks {
		lines = append(lines, doctor.Of(check, "", why))
	}
	return lines
}
