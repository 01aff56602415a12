package install

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// markKey is the label of the release and of the session that are the demo's own. Their
// names are the documents', so that somebody's real installation may bear them, too.
const (
	markKey   = "demo.vdi.kasm.io/made"
	markValue = "yes"
)

// found is what bears the demo's names on somebody's cluster.
type found struct {
	release, releaseMarked bool
	session                *vdi.VDISession // nil: none
}

// foreign says what must not be touched, since the demo has not made it.
func (f found) foreign() error {
	if f.release && !f.releaseMarked {
		return fmt.Errorf("release %s in namespace %s is not the demo's: it has no label %s. Leave it, and use another cluster; if it may go, run `helm uninstall %s -n %s` first",
			Release, Namespace, markKey, Release, Namespace)
	}
	if f.session != nil && f.session.Labels[markKey] != markValue {
		return fmt.Errorf("session %s in namespace %s is not the demo's: it has no label %s. Leave it, and use another cluster; if it may go, run `kubectl delete vdi %s -n %s` first",
			f.session.Name, f.session.Namespace, markKey, f.session.Name, f.session.Namespace)
	}
	return nil
}

// CheckOwn refuses an existing cluster whose release or session of the demo's names is
// somebody else's. It writes nothing.
func (p *Platform) CheckOwn(ctx context.Context) error {
	if !p.Cluster.Existing() {
		return nil
	}
	var f found
	var err error
	if f.release, err = p.hasRelease(ctx); err != nil {
		return err
	}
	if f.releaseMarked, err = p.hasRelease(ctx, "--selector", markKey+"="+markValue); err != nil {
		return err
	}
	session, err := Session()
	if err != nil {
		return err
	}
	switch err := p.Client.Get(ctx, client.ObjectKeyFromObject(session), session); {
	case err == nil:
		f.session = session
	case client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err): // nothing knows sessions before the first install
		return fmt.Errorf("read session %s: %w", session.Name, err)
	}
	return f.foreign()
}

func (p *Platform) hasRelease(ctx context.Context, more ...string) (bool, error) {
	args := append([]string{
		"list", "--namespace", Namespace, "--filter", "^" + Release + "$", "--short",
		"--deployed", "--failed", "--pending", "--uninstalling",
	}, more...)
	command := p.helm(ctx, args...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return false, fmt.Errorf("helm list: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(out.String()) == Release, nil
}
