package desktop

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// shortestRun is how long a desktop runs at least that somebody has used and left.
const shortestRun = 3 * time.Second

// Exit is one end of a container.
type Exit struct {
	Container string
	Ended     *corev1.ContainerStateTerminated
	worked    bool // its desktop had been Running in this run
}

// LastExit is the latest end of a container that it came to by itself; false when
// there is none. What ends with its pod says nothing of its own.
func LastExit(pod *corev1.Pod, worked bool) (last Exit, found bool) {
	if pod == nil || pod.DeletionTimestamp != nil || pod.Status.Reason != "" || isDisrupted(pod) {
		return last, false
	}
	for _, c := range Containers(pod) {
		for _, ended := range []*corev1.ContainerStateTerminated{c.LastTerminationState.Terminated, c.State.Terminated} {
			if ended == nil || isDone(pod, c, ended) || (found && !ended.FinishedAt.After(last.Ended.FinishedAt.Time)) {
				continue
			}
			last, found = Exit{c.Name, ended, worked}, true
		}
	}
	return last, found
}

// EndedAt is when a pod that has ended gave back what it held, as far as its status says so; a
// zero time: its node took none of its containers.
func EndedAt(pod *corev1.Pod) (at time.Time, known bool) {
	if pod == nil || !Ended(pod) {
		return at, false
	}
	for _, c := range Containers(pod) {
		if t := c.State.Terminated; t == nil && c.State.Running == nil {
			continue // it was never begun
		} else if t == nil || t.FinishedAt.IsZero() { // its node was lost
			disrupted := Condition(pod, corev1.DisruptionTarget)
			if disrupted == nil || disrupted.Status != corev1.ConditionTrue {
				return time.Time{}, false
			}
			return disrupted.LastTransitionTime.Time, true
		} else if t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
	}
	return at, true
}

func isDisrupted(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.DisruptionTarget)
	return c != nil && c.Status == corev1.ConditionTrue
}

// isDone reports whether a container has only done what it had to do before the desktop.
func isDone(pod *corev1.Pod, c corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) bool {
	for _, init := range pod.Status.InitContainerStatuses {
		if init.Name == c.Name {
			return ended.ExitCode == 0
		}
	}
	return false
}

// wasLeft reports whether somebody has ended the desktop from within, as by logging out. Who
// ends well without ever having worked fails all the same.
func (e Exit) wasLeft() bool {
	return e.worked && e.Container == wire.ContainerDesktop && e.Ended.ExitCode == 0 && e.Ended.FinishedAt.Sub(e.Ended.StartedAt.Time) >= shortestRun
}

// Status is what the session's status says about an end.
func (e Exit) Status(pod *corev1.Pod) *vdi.ExitStatus {
	st := &vdi.ExitStatus{Container: e.Container, ExitCode: e.Ended.ExitCode, Reason: e.Ended.Reason, Message: verdict.Shorten(e.Words(pod), verdict.MaxMessage)}
	if !e.Ended.FinishedAt.IsZero() { // a node that was lost does not say when
		st.At = e.Ended.FinishedAt.DeepCopy()
	}
	return st
}

// Words are a sentence of ours without its full stop. What the container wrote is
// looked through for causes that are known, and never repeated.
func (e Exit) Words(pod *corev1.Pod) string {
	who, t := "The container "+e.Container, e.Ended
	if e.Container == wire.ContainerDesktop {
		who = "The desktop"
	}
	switch {
	case t.Reason == "OOMKilled":
		return who + " needed more memory than its limit" + memoryLimit(pod, e.Container) + " and was ended by its node"
	case t.Reason == "ContainerStatusUnknown":
		return who + " ended with its node, and nobody knows how"
	case isStartError(t):
		return who + " could not be started: " + t.Message // the container runtime's words: nothing of the image has run
	case e.wasLeft():
		return who + " was left: its main program ended by itself"
	case t.ExitCode == 0:
		return who + " ended with exit code 0 before it had worked: does its image start a program that stays?"
	}
	how := fmt.Sprintf("%s ended with exit code %d", who, t.ExitCode)
	if signal := signalOf(t); signal != 0 {
		how = fmt.Sprintf("%s was ended by signal %d (%s)", who, signal, signal)
	}
	if cause := e.cause(pod); cause != "" {
		how += ": " + cause
	}
	return how
}

// memoryLimit says how large a container's limit is and, of the desktop's, where it
// is set.
func memoryLimit(pod *corev1.Pod, container string) string {
	for _, c := range pod.Spec.Containers {
		if limit, limited := c.Resources.Limits[corev1.ResourceMemory]; limited && c.Name == container {
			words := " of " + limit.String()
			if container == wire.ContainerDesktop {
				words += " (spec.resources.memory)"
			}
			return words
		}
	}
	return ""
}

// isStartError reports whether the container runtime could not start the program at
// all (containerd's and Docker's words).
func isStartError(t *corev1.ContainerStateTerminated) bool {
	return t.Reason == "StartError" || t.Reason == "ContainerCannotRun"
}

// signalOf is the signal that ended a program; 0 when none did.
func signalOf(t *corev1.ContainerStateTerminated) syscall.Signal {
	if t.Signal != 0 {
		return syscall.Signal(t.Signal)
	}
	if t.ExitCode > 128 && t.ExitCode < 128+65 {
		return syscall.Signal(t.ExitCode - 128)
	}
	return 0
}

// knownCauses are what programs write when something is missing that somebody can
// put right, as Linux words it (strerror), and what we say about it.
func knownCauses() []struct{ written, means string } {
	return []struct{ written, means string }{
		{"no space left on device", "a disk is full; is it the home?"},
		{"disk quota exceeded", "a disk is full; is it the home?"},
		{"read-only file system", "it has to write where it may only read"},
		{"exec format error", "its image is built for another processor than the node's"},
		{"address already in use", "another program of the pod has its port"},
	}
}

// cause is what is behind an end with an error, where that is known; "" otherwise.
func (e Exit) cause(pod *corev1.Pod) string {
	written := strings.ToLower(e.Ended.Message)
	for _, known := range knownCauses() {
		if strings.Contains(written, known.written) {
			return known.means
		}
	}
	for _, words := range []string{"permission denied", "not writable", "operation not permitted"} {
		if strings.Contains(written, words) {
			return "it may not use a file or directory that it needs; " + permissionHelp(pod)
		}
	}
	switch {
	case e.Ended.ExitCode == 126:
		return "a program in its image may not be executed"
	case e.Ended.ExitCode == 127:
		return "a program that it needs is not in its image"
	}
	return ""
}

// permissionHelp: homes that were made elsewhere, and file servers that let nobody
// change owners, are the usual reason.
func permissionHelp(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == wire.VolumeHome && v.PersistentVolumeClaim != nil {
			return fmt.Sprintf("is the home %s writable%s?", v.PersistentVolumeClaim.ClaimName, forUser(pod))
		}
	}
	return "is its image made" + forUser(pod) + "?"
}

// forUser names the user that a desktop runs as.
func forUser(pod *corev1.Pod) string {
	if security := pod.Spec.SecurityContext; security != nil && security.RunAsUser != nil {
		return fmt.Sprintf(" for uid %d", *security.RunAsUser)
	}
	return " for its user"
}

// logHint says where to read what a container wrote.
func logHint(pod *corev1.Pod, container string) string {
	return fmt.Sprintf("What it wrote: kubectl logs -n %s %s -c %s --previous", pod.Namespace, pod.Name, container)
}
