package maintain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/program"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// upgrade is what the checks of an upgrade are made on: all of it was read before.
type upgrade struct {
	before *settings       // of the release as it is; nil where there are none
	after  platform.Config // of the release as it is to be

	templates []sampled
	sessions  []vdi.VDISession
	uses      map[string][]string // of each template, the namespaces of its sessions
	claims    map[types.NamespacedName]bool
	release   string   // the operator's namespace
	portal    string   // host where people will log in, "" where there is none
	foreign   []string // IngressRoutes of others without the proxy's label, by NAMESPACE/NAME
	reads     []string // kinds of others that the proxy will read
	admission bool     // whether admission policies will hold
	pods      []refusedPod
}

// isFirst reports whether the release is of a version that knew nothing of these checks.
// What a later one finds was refused before, and confirmed then.
func (u upgrade) isFirst() bool { return u.before == nil || !u.before.adds }

// settings are a release's present ones.
type settings struct {
	platform.Config
	// adds: in their version, denied ranges are beside the floor.
	adds bool
}

// sampled is a template as it will be, and what comes of a session of it.
type sampled struct {
	vdi.VDITemplate
	renderer.Rendered
	err error
}

// finding is something that works now and would not after the upgrade.
type finding struct {
	key  string // by which it is confirmed, such as template/blender
	text string // a sentence, with the remedy
}

// upgradeChecks are all that is looked for. A further one is a function more.
func upgradeChecks() []func(upgrade) []finding {
	return []func(upgrade) []finding{refusedTemplates, unmarkedClaims, replacedRanges, closedNamespaces, takenPortal, unreadRoutes, refusedPods}
}

// checkUpgrade stops an upgrade that would refuse what works, until that is changed or
// confirmed. It changes nothing. Where nothing is installed it finds nothing.
func checkUpgrade(ctx context.Context, j job) error {
	u, err := j.readUpgrade(ctx)
	if err != nil {
		return err
	}
	var findings []finding
	for _, check := range upgradeChecks() {
		findings = append(findings, check(u)...)
	}
	return j.reportFindings(findings)
}

// reportFindings writes what was found, what is not confirmed last.
func (j job) reportFindings(findings []finding) error {
	confirmed := program.List(j.options.confirmed)
	var open []string
	for _, f := range findings {
		if slices.Contains(confirmed, f.key) || slices.Contains(confirmed, "*") {
			j.report("warning, confirmed: %s: %s", f.key, f.text)
			continue
		}
		open = append(open, f.key)
	}
	for _, f := range findings {
		if slices.Contains(open, f.key) {
			j.report("%s: %s", f.key, f.text)
		}
	}
	if len(open) == 0 {
		j.report("nothing else that works now would be refused after the upgrade")
		return nil
	}
	return fmt.Errorf("%w: after this upgrade something would be refused that works now, see above; nothing is changed yet. Change it, or confirm it: --set '%s={%s}' (or {*} for all)",
		ErrRefused, j.options.confirmBy, strings.Join(open, ","))
}

func (j job) readUpgrade(ctx context.Context) (u upgrade, err error) {
	if u.after, err = readConfig(j.options.config); err != nil {
		return u, fmt.Errorf("the settings after the upgrade: %w", err)
	}
	if u.before, err = j.currentSettings(ctx); err != nil {
		return u, err
	}
	if u.templates, err = j.upgradedTemplates(ctx, u.after); err != nil {
		return u, err
	}
	if u.sessions, err = j.storedSessions(ctx); err != nil {
		return u, err
	}
	u.uses = namespacesByTemplate(u.sessions)
	u.claims, err = j.markedClaims(ctx, u)
	if err != nil {
		return u, err
	}
	u.release, u.admission, u.portal = j.options.namespace, j.options.admission, j.options.portalHost
	u.reads = program.List(j.options.proxyReads)
	if u.foreign, err = j.foreignRoutes(ctx); err != nil {
		return u, err
	}
	u.pods, err = j.refusedPods(ctx, j.podRules(u.after.Sessions.Allowed.Secrets))
	return u, err
}

// currentSettings are read leniently: another version wrote them.
func (j job) currentSettings(ctx context.Context) (*settings, error) {
	found := &corev1.ConfigMap{}
	err := j.client.Get(ctx, client.ObjectKey{Namespace: j.options.namespace, Name: j.options.settings}, found)
	if j.options.settings == "" || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the release's settings: %w", err)
	}
	s := &settings{adds: found.Annotations[wire.AnnotationSettings] != ""}
	if err := yaml.Unmarshal([]byte(found.Data["config.yaml"]), &s.Config); err != nil {
		return nil, fmt.Errorf("read the release's settings: %w", err)
	}
	return s, nil
}

// upgradedTemplates are the stored ones; those that the values hold too will be as these say.
func (j job) upgradedTemplates(ctx context.Context, after platform.Config) ([]sampled, error) {
	values, err := readTemplates(j.options.templates)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	stored := &vdi.VDITemplateList{}
	if err := j.client.List(ctx, stored); err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	r, err := renderer.New()
	if err != nil {
		return nil, err
	}
	var out []sampled
	for _, t := range stored.Items {
		if t.DeletionTimestamp != nil {
			continue
		}
		if to := values[t.Name]; to != nil {
			t.Spec = to.Spec
		}
		rendered, err := r.Sample(&t, after)
		out = append(out, sampled{t, rendered, err})
	}
	return out, nil
}

func (j job) storedSessions(ctx context.Context) (out []vdi.VDISession, err error) {
	for _, namespace := range j.sessionNamespaces() {
		sessions := &vdi.VDISessionList{}
		if err := j.client.List(ctx, sessions, client.InNamespace(namespace)); err != nil && !meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		out = append(out, sessions.Items...)
	}
	return out, nil
}

func namespacesByTemplate(sessions []vdi.VDISession) map[string][]string {
	out := map[string][]string{}
	for _, s := range sessions {
		if name := s.Spec.Template; !slices.Contains(out[name], s.Namespace) {
			out[name] = append(out[name], s.Namespace)
		}
	}
	return out
}

// markedClaims says of each claim that templates mount whether desktops may have it.
// One that does not exist is none.
func (j job) markedClaims(ctx context.Context, u upgrade) (map[types.NamespacedName]bool, error) {
	out := map[types.NamespacedName]bool{}
	for _, key := range claimsOf(u) {
		claim := &corev1.PersistentVolumeClaim{}
		err := j.client.Get(ctx, key, claim)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read claim %s: %w", key, err)
		}
		out[key] = claim.Labels[wire.LabelForDesktops] == wire.LabelOn
	}
	return out, nil
}

// claimsOf are the claims that the sessions' templates mount, in the sessions' namespaces.
func claimsOf(u upgrade) (out []types.NamespacedName) {
	for _, t := range u.templates {
		for _, namespace := range u.uses[t.Name] {
			for _, name := range t.Claims {
				if key := (types.NamespacedName{Namespace: namespace, Name: name}); !slices.Contains(out, key) {
					out = append(out, key)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// refusedTemplates are those from which sessions start now, or of which nobody has said
// anything, and from which none could start after the upgrade.
func refusedTemplates(u upgrade) (out []finding) {
	for _, t := range u.templates {
		if t.err != nil && !meta.IsStatusConditionFalse(t.Status.Conditions, vdi.ConditionValid) {
			out = append(out, finding{"template/" + t.Name, fmt.Sprintf("no session could start from the template any more, though those that run go on: %v", t.err)})
		}
	}
	return out
}

// unmarkedClaims keep sessions from starting, which would start now.
func unmarkedClaims(u upgrade) (out []finding) {
	if !u.isFirst() {
		return nil
	}
	for _, key := range claimsOf(u) {
		if marked, found := u.claims[key]; found && !marked {
			out = append(out, finding{
				"claim/" + key.String(),
				fmt.Sprintf("a template mounts this PersistentVolumeClaim, which no administrator has given to desktops, so that none could start with it any more: kubectl label pvc -n %s %s %s=true", key.Namespace, key.Name, wire.LabelForDesktops),
			})
		}
	}
	return out
}

// closedNamespaces are the cluster's and the platform's own, in which no desktop may start
// any more (charts/vdi-operator, admission/operator.yaml).
func closedNamespaces(u upgrade) (out []finding) {
	if !u.admission || !u.isFirst() {
		return nil
	}
	closed := []string{"kube-system", "kube-public", "kube-node-lease", u.release}
	found := map[string]bool{}
	for _, namespaces := range u.uses {
		for _, n := range namespaces {
			found[n] = slices.Contains(closed, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		if found[n] {
			out = append(out, finding{
				"namespace/" + n,
				fmt.Sprintf("sessions live in namespace %s, which is the cluster's or the platform's: those that run go on, but none could start there any more; make them anew in a namespace for sessions", n),
			})
		}
	}
	return out
}

// takenPortal are sessions whose host would be that of the login, whose route goes first.
func takenPortal(u upgrade) (out []finding) {
	for _, s := range u.sessions {
		if u.portal == "" || s.Status.Host != u.portal || s.DeletionTimestamp != nil {
			continue
		}
		out = append(out, finding{
			fmt.Sprintf("session/%s/%s", s.Namespace, s.Name),
			fmt.Sprintf("its host is %s, where people will log in (access.mode Local), so that nobody could reach its desktop any more: set another portal.label, or delete it and make it anew with a name, or under a sessions.hostTemplate, that gives another host", u.portal),
		})
	}
	return out
}

// unreadRoutes are others' that the proxy serves now and would not read any more.
func unreadRoutes(u upgrade) (out []finding) {
	if !u.isFirst() || slices.Contains(u.reads, routeKind.Kind) {
		return nil
	}
	for _, name := range u.foreign {
		out = append(out, finding{
			"route/" + name,
			fmt.Sprintf("if the platform's proxy serves the IngressRoute %s, it would not read it any more: set traefik.providers.kubernetesCRD.labelSelector to \"\" and name IngressRoute in sessions.proxy.reads, or give the route and what it names the label %s=true", name, wire.LabelProxy),
		})
	}
	return out
}

// foreignRoutes are the IngressRoutes that neither the operator nor this release has made.
func (j job) foreignRoutes(ctx context.Context) (out []string, err error) {
	for _, namespace := range j.sessionNamespaces() {
		err := j.each(ctx, routeKind, func(o unstructured.Unstructured) error {
			own := isOfSession(o) || o.GetAnnotations()["meta.helm.sh/release-namespace"] == j.options.namespace
			if !own && o.GetLabels()[wire.LabelProxy] != wire.LabelOn && o.GetDeletionTimestamp() == nil {
				out = append(out, o.GetNamespace()+"/"+o.GetName())
			}
			return nil
		}, client.InNamespace(namespace))
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return out, nil
}

// replacedRanges: until now, a list of denied ranges was the whole list.
func replacedRanges(u upgrade) []finding {
	if u.before == nil || !u.isFirst() || len(u.before.Sessions.Network.DeniedRanges) == 0 {
		return nil
	}
	network := u.after.Sessions.Network
	lost := network.Lost(u.before.Sessions.Network.DeniedRanges)
	if len(lost) == 0 || network.Internet != nil && !*network.Internet {
		return nil
	}
	return []finding{{
		"network/deniedRanges",
		fmt.Sprintf("sessions.network.deniedRanges replaced the platform's own ranges until now, and is beside them from now on: desktops that start could no longer reach %s; name those that they need in sessions.network.openRanges, or single addresses in allowedRanges", strings.Join(lost, ", ")),
	}}
}
