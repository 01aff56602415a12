package session

import (
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// StatementKeys are the public keys by which the front door signs statements, and which
// agents believe in mode OIDC.
type StatementKeys interface {
	// Get returns them as they are now: file name to PEM; none while the front
	// door has not published any.
	Get() map[string]string
	// Changed says when they are others.
	Changed() <-chan event.GenericEvent
}

func (r *Reconciler) isOIDC() bool { return r.Config.Access.Mode == wire.AccessOIDC }

// statementKeys are what the agent of a session that starts now believes.
func (r *Reconciler) statementKeys() map[string]string {
	if !r.isOIDC() || r.StatementKeys == nil {
		return nil
	}
	return r.StatementKeys.Get()
}

// withoutStatementKeys is the verdict on a session that nobody could enter. A running one keeps
// the keys it has.
func withoutStatementKeys() error {
	return &verdict.Verdict{
		Condition: vdi.ConditionReachable, Reason: vdi.ReasonFrontDoorKeysMissing, Phase: vdi.PhasePending,
		Waiting: vdi.WaitingForRoute,
		Message: "The front door has published no keys yet: is vdi-frontdoor running beside the operator, and does its ConfigMap " + wire.StatementKeysConfigMap + " hold some? The session goes on by itself then",
	}
}

// watchStatementKeys wakes all sessions when the keys change: those that run get the
// new ones, those that wait for some start.
func (r *Reconciler) watchStatementKeys(sessions watcher) error {
	if !r.isOIDC() || r.StatementKeys == nil {
		return nil
	}
	return r.wakeAll(sessions, r.StatementKeys.Changed(), "front door's keys")
}
