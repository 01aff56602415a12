package contract

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

const (
	// logKept is how much of a log is searched, in bytes: more than the kubelet keeps in a file
	// (containerLogMaxSize). logShown is how much of its last logLines lines is shown.
	logKept, logLines, logShown = 16 << 20, 20, 200
)

// secrets looks for the desktop's password in its log, which many people may read.
func (r *run) secrets(ctx context.Context) judge.Verdict {
	limit := int64(logKept)
	log, err := r.logOf(ctx, wire.ContainerDesktop, false, corev1.PodLogOptions{LimitBytes: &limit})
	if err != nil {
		return judge.Unjudged("the desktop's log cannot be read: %v", err)
	}
	for _, secret := range spellings(r.desktop) {
		if strings.Contains(log, secret) {
			return judge.Fail("the desktop's password stands in its log")
		}
	}
	if len(log) >= logKept {
		return judge.Unjudged("the desktop's password is not among the first %d bytes of its log, which is longer", len(log))
	}
	return judge.Pass("the desktop's password is not among the %d bytes of its log", len(log))
}

// spellings are the forms in which a log may show a password: itself, and the header of basic
// authentication.
func spellings(password string) []string {
	return []string{password, base64.RawStdEncoding.EncodeToString([]byte(login + ":" + password))}
}

// redacted takes the run's passwords out of what is shown.
func (r *run) redacted(text string) string {
	for _, secret := range append(spellings(r.desktop), spellings(r.password)...) {
		text = strings.ReplaceAll(text, secret, "(password)")
	}
	return text
}

// log is the end of the desktop's log, of its last life where it has ended. Passwords are taken
// out before it is cut: a part of one would not be found later.
func (r *run) log(ctx context.Context, ended bool) string {
	said, err := r.logOf(ctx, wire.ContainerDesktop, ended, endOfLog())
	if err != nil {
		return fmt.Sprintf("(it cannot be read: %v)", err)
	}
	text := r.redacted(strings.Join(strings.Fields(said), " "))
	switch {
	case text == "":
		return "(nothing)"
	case len(text) > logShown:
		return "… " + strings.ToValidUTF8(text[len(text)-logShown:], "")
	}
	return text
}

// endOfLog are the last lines of a log.
func endOfLog() corev1.PodLogOptions {
	lines := int64(logLines)
	return corev1.PodLogOptions{TailLines: &lines}
}

// logOf is what a container has said: in its life before this one, where ended and there is one.
func (r *run) logOf(ctx context.Context, container string, ended bool, part corev1.PodLogOptions) (string, error) {
	part.Container = container
	if part.Previous = ended; ended {
		if data, err := r.kube.CoreV1().Pods(r.namespace).GetLogs(sessionName, &part).DoRaw(ctx); err == nil && len(data) > 0 {
			return string(data), nil
		}
		part.Previous = false // it has not been started again yet
	}
	data, err := r.kube.CoreV1().Pods(r.namespace).GetLogs(sessionName, &part).DoRaw(ctx)
	return string(data), err
}

// agentSays is the last error that the agent has logged.
func (r *run) agentSays(ctx context.Context) string {
	log, err := r.logOf(ctx, wire.ContainerAgent, false, endOfLog())
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	said := "nothing"
	for line := range strings.Lines(log) {
		var entry struct{ Level, Msg, Error string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "ERROR" {
			said = entry.Msg + ": " + entry.Error
		}
	}
	return said
}
