package contract

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

// points are the lines of a run, in their order.
var points = []string{"answers", "page", "writes", "log", "stops", "again"}

// passing are the folders outside of the home that a desktop may write: nobody expects
// anything there to last.
var passing = []string{"/dev", "/etc", "/proc", "/run", "/tmp", "/var"}

const (
	pageKept    = 1 << 20 // of an answer, in bytes
	pageTimeout = 10 * time.Second
)

// judge runs the image twice on one home.
func (r *run) judge(ctx context.Context) ([]judge.Line, error) {
	first, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	lines := []judge.Line{judge.Of("answers", r.howToAnswer(), first.answers)}
	if first.answers.State != judge.Passed {
		return append(lines, notJudged(judge.Unjudged("the desktop has not answered"), points[1:]...)...), nil
	}
	stops, err := r.stops(ctx)
	if err != nil {
		return nil, err
	}
	second, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	if second.answers.State == judge.Passed {
		first.writes, first.log = worst(first.writes, second.writes), worst(first.log, second.log)
	}
	return append(lines,
		judge.Of("page", "let the desktop accept the login in its variables, or ask for none: the agent has asked already", first.page),
		judge.Of("writes", "write below the home what must last; what need not belongs into /tmp, /run or /var", first.writes),
		judge.Of("log", "do not print the environment, nor the headers of requests", first.log),
		judge.Of("stops", "let the first process (ENTRYPOINT) end on SIGTERM; a shell hands it on with exec or a trap", stops),
		judge.Of("again", "a home that is kept holds what the first life left, such as lock files: remove them at the start", worst(second.answers, second.page)),
	), nil
}

// life is what was seen of a desktop between its start and its end. Only of one that answers
// there is more than that.
type life struct{ answers, page, writes, log judge.Verdict }

// live starts a desktop, asks for its page, and looks at it before that and after, each time
// when it has settled.
func (r *run) live(ctx context.Context) (l life, err error) {
	pod, answers, err := r.start(ctx)
	if err != nil || answers.State != judge.Passed {
		return life{answers: answers}, err
	}
	before, err := r.settled(ctx, pod, answers)
	if err != nil || before.answers.State != judge.Passed {
		return before, err
	}
	page, err := r.page(ctx, pod)
	if err != nil {
		return life{}, err
	}
	after, err := r.settled(ctx, pod, answers)
	return life{
		answers: after.answers, page: page,
		writes: worst(before.writes, after.writes), log: worst(before.log, after.log),
	}, err
}

// settled looks at a desktop that has answered after a while without requests.
func (r *run) settled(ctx context.Context, pod *corev1.Pod, answers judge.Verdict) (l life, err error) {
	select {
	case <-ctx.Done():
		return life{}, ctx.Err()
	case <-time.After(settling):
	}
	l = life{answers: answers, writes: r.writes(pod), log: r.secrets(ctx)}
	now, err := r.pod(ctx)
	if err != nil {
		return life{}, err
	}
	if ended := endOf(now); ended != "" {
		l.answers = judge.Fail("%s and then ended: %s; its log ends: %s", answers.Seen, ended, r.log(ctx, true))
	}
	return l, nil
}

// worst is the first of the verdicts that failed, else of those that nobody knows, else the last.
func worst(verdicts ...judge.Verdict) judge.Verdict {
	for _, state := range []judge.State{judge.Failed, judge.NotJudged} {
		if i := slices.IndexFunc(verdicts, func(v judge.Verdict) bool { return v.State == state }); i >= 0 {
			return verdicts[i]
		}
	}
	return verdicts[len(verdicts)-1]
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

// endOf says how a desktop ended or why it cannot start; "" while neither is so. The message of
// one that ran is the end of its log, which is shown elsewhere.
func endOf(pod *corev1.Pod) string {
	status := desktopStatus(pod)
	if status == nil {
		return ""
	}
	for _, ended := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
		switch {
		case ended == nil:
		case hasNotRun(ended.Reason):
			return fmt.Sprintf("it did not start (%s): %s", ended.Reason, ended.Message)
		default:
			return fmt.Sprintf("it ended with code %d (%s) after %s", ended.ExitCode, ended.Reason, ended.FinishedAt.Sub(ended.StartedAt.Time))
		}
	}
	switch waiting := status.State.Waiting; {
	case status.RestartCount > 0:
		return fmt.Sprintf("it was started again %d times", status.RestartCount)
	case waiting != nil && (strings.HasSuffix(waiting.Reason, "Error") || strings.HasPrefix(waiting.Reason, "Err")):
		return fmt.Sprintf("it does not start (%s): %s", waiting.Reason, waiting.Message)
	}
	return ""
}

// hasNotRun reports whether the reason of an end is one of the runtime's (containerd's, Docker's)
// or the kubelet's for a program that was never started.
func hasNotRun(reason string) bool {
	return reason == "StartError" || reason == "ContainerCannotRun" || strings.HasPrefix(reason, "CreateContainer")
}

// unplaced says why no node takes a pod, once the scheduler has said so for a while: at first
// that may only be a volume that is still being made.
func unplaced(pod *corev1.Pod, now time.Time) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && now.Sub(condition.LastTransitionTime.Time) > placing {
			return condition.Message
		}
	}
	return ""
}

// silent says what the agent sees of a desktop that does not answer, and what listens instead.
func (r *run) silent(ctx context.Context, pod *corev1.Pod) judge.Verdict {
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
	return judge.Fail("after %s: %s; %s; its log ends: %s", r.Patience, why, open, r.log(ctx, false))
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
	content, err := io.ReadAll(io.LimitReader(answer.Body, pageKept))
	return answer.StatusCode, string(content), err
}

// page asks for the desktop's page through the agent, which hands over the desktop's own login.
func (r *run) page(ctx context.Context, pod *corev1.Pod) (judge.Verdict, error) {
	code, body, err := r.get(ctx, pod, wire.AgentVisitorPort, "/")
	switch {
	case err != nil:
		return judge.Verdict{}, fmt.Errorf("ask the agent: %w", err)
	case code < http.StatusBadRequest:
		return judge.Pass("GET / through the agent is answered %d with %d bytes", code, len(body)), nil
	}
	return judge.Fail("GET / through the agent is answered %d; the agent says: %s", code, r.agentSays(ctx)), nil
}

// writes looks at what the container has written outside of its mounts.
func (r *run) writes(pod *corev1.Pod) judge.Verdict {
	pid, found := r.process(pod)
	if !found {
		return judge.Unjudged("no process of the desktop was found on this machine")
	}
	files, err := changed(pid)
	if err != nil {
		return judge.Unjudged("what the container wrote cannot be read: %v", err)
	}
	lost := slices.DeleteFunc(slices.Clone(files), func(file string) bool {
		return slices.ContainsFunc(passing, func(folder string) bool { return strings.HasPrefix(file, folder+"/") })
	})
	if len(lost) > 0 {
		return judge.Fail("it writes %s, which is lost at each stop: only %s is kept", some(lost), r.plan.wanted.home)
	}
	return judge.Pass("outside of its home it wrote %d files, all in folders for what need not last", len(files))
}

// some names the first few.
func some(files []string) string {
	const most = 3
	if len(files) > most {
		return fmt.Sprintf("%s and %d more files", strings.Join(files[:most], ", "), len(files)-most)
	}
	return strings.Join(files, ", ")
}

func (r *run) stops(ctx context.Context) (judge.Verdict, error) {
	pod, err := r.stop(ctx)
	if err != nil {
		return judge.Verdict{}, err
	}
	return stopOf(pod, time.Duration(*r.plan.pod.Spec.TerminationGracePeriodSeconds)*time.Second), nil
}

// stopOf judges the last that was seen of a pod that was deleted. Its times are whole seconds.
// A kill comes after the grace at the earliest, and gives code 137 (128 and SIGKILL).
func stopOf(pod *corev1.Pod, grace time.Duration) judge.Verdict {
	status := desktopStatus(pod)
	if status == nil || status.State.Terminated == nil || pod.DeletionTimestamp == nil || pod.DeletionGracePeriodSeconds == nil {
		return judge.Unjudged("how the desktop ended was not reported")
	}
	if status.State.Terminated.FinishedAt.IsZero() { // the kubelet's ContainerStatusUnknown, with code 137
		return judge.Unjudged("when the desktop ended is not known: %s", status.State.Terminated.Message)
	}
	// The time of a deletion is the one at which its grace is over.
	began := pod.DeletionTimestamp.Add(-time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
	ended := status.State.Terminated
	took := ended.FinishedAt.Sub(began)
	switch {
	case took < 0:
		return judge.Unjudged("it had ended already when its pod was deleted, with code %d", ended.ExitCode)
	case took >= grace && ended.ExitCode == 137:
		return judge.Fail("it did not end on SIGTERM: after %s it was killed", grace)
	case took > grace:
		return judge.Fail("it ended only %s after its pod's deletion (it has %s)", took, grace)
	}
	return judge.Pass("it ended %s after its pod's deletion, with code %d (it has %s)", took, ended.ExitCode, grace)
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

// notJudged is the same for several points.
func notJudged(why judge.Verdict, checks ...string) (lines []judge.Line) {
	for _, check := range checks {
		lines = append(lines, judge.Of(check, "", why))
	}
	return lines
}
