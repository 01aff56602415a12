package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestTenancy lives as people with kubectl do, under the chart's roles and
// policies and beside the operator as the chart installs it.
func TestTenancy(t *testing.T) {
	t.Parallel()
	p := startGuarded(t)
	installOperator(t, p)
	w := newWorldOn(t, p)
	w.createTemplate()
	mine, shared := w.newNamespace("mine"), w.newNamespace("shared")
	w.bind(mine, "vdi-user", aPerson)
	for _, v := range []visitor{aPerson, mallory} {
		w.bind(shared, "vdi-user", v)
	}
	w.bind(shared, "vdi-admin", teamAdmin)
	w.bind("", "vdi-catalogue", aPerson)

	w.ownNamespace(p, mine)
	w.ownPassword(p, mine)
	w.sharedNamespace(p, shared)
	w.warnings(p)
	w.artistsOnly(p, shared)
	w.namespaceEnds(mine)
	w.tableIsTrue(p)
}

func (w *world) newNamespace(name string) string {
	w.t.Helper()
	labels := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "vdi.kasm.io/sessions": "true"}
	require.NoError(w.t, w.client.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
	return name
}

// bind gives somebody a role in a namespace, or in all when it is empty.
func (w *world) bind(ns, role string, v visitor) {
	w.t.Helper()
	ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: role}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: v.name}}
	name := strings.NewReplacer("@", "-", ":", "-").Replace(role + "-" + v.name)
	if ns == "" {
		require.NoError(w.t, w.client.Create(w.ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: ref, Subjects: subjects}))
		return
	}
	require.NoError(w.t, w.client.Create(w.ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, RoleRef: ref, Subjects: subjects}))
}

func (w *world) sessionIn(ns, name, user string) *vdi.VDISession {
	s := w.newSession(desktop(name, user))
	s.Namespace = ns
	return s
}

// ownNamespace: a person has desktops there, and can reach nothing around them.
func (w *world) ownNamespace(p *plane, ns string) {
	w.t.Helper()
	c := p.really(w.t, aPerson)
	w.allowed("a person creates a session", func() error { return c.Create(w.ctx, w.sessionIn(ns, desk, alice)) })
	require.NoError(w.t, c.List(w.ctx, &vdi.VDITemplateList{}))
	w.eventually(func() bool {
		s := &vdi.VDISession{}
		require.NoError(w.t, c.Get(w.ctx, client.ObjectKey{Namespace: ns, Name: desk}, s))
		return s.Status.PodName != "" && s.Status.CredentialsSecret != ""
	}, "the desktop is made")
	s := w.sessionIn(ns, desk, alice)
	for what, do := range map[string]func() error{
		"reads the password": func() error {
			return c.Get(w.ctx, client.ObjectKey{Namespace: ns, Name: renderer.CredentialsName(desk)}, &corev1.Secret{})
		},
		"lists Secrets": func() error { return c.List(w.ctx, &corev1.SecretList{}, client.InNamespace(ns)) },
		"makes a pod": func() error {
			return c.Create(w.ctx, (&guard{ns: ns}).pod("web"))
		},
		"makes a route":     func() error { return c.Create(w.ctx, route(ns, "IngressRoute", "app", "Host(`app.example.org`)")) },
		"writes the status": func() error { return c.Status().Update(w.ctx, s) },
		"makes a template": func() error {
			return c.Create(w.ctx, &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: vdi.VDITemplateSpec{Image: image}})
		},
	} {
		require.True(w.t, apierrors.IsForbidden(do()), what)
	}
}

// ownPassword is the tenancy page's way: the right to get Secrets by name.
func (w *world) ownPassword(p *plane, ns string) {
	w.t.Helper()
	meta := metav1.ObjectMeta{Name: "desktop-passwords", Namespace: ns}
	require.NoError(w.t, w.client.Create(w.ctx, &rbacv1.Role{
		ObjectMeta: meta,
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
	}))
	require.NoError(w.t, w.client.Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: alice}},
	}))
	c, secret := p.really(w.t, aPerson), &corev1.Secret{}
	w.allowed("a person reads their password", func() error {
		return c.Get(w.ctx, client.ObjectKey{Namespace: ns, Name: renderer.CredentialsName(desk)}, secret)
	})
	require.NotEmpty(w.t, secret.Data[corev1.BasicAuthPasswordKey])
	require.True(w.t, apierrors.IsForbidden(c.List(w.ctx, &corev1.SecretList{}, client.InNamespace(ns))))
	require.True(w.t, apierrors.IsForbidden(c.Delete(w.ctx, secret)))
}

// sharedNamespace: who may see each other still change only their own.
func (w *world) sharedNamespace(p *plane, ns string) {
	w.t.Helper()
	w.allowed("a person creates a session", func() error { return p.really(w.t, aPerson).Create(w.ctx, w.sessionIn(ns, desk, alice)) })
	bad := p.really(w.t, mallory)
	w.allowed("another person sees it", func() error { return bad.List(w.ctx, &vdi.VDISessionList{}, client.InNamespace(ns)) })
	s := &vdi.VDISession{}
	require.NoError(w.t, bad.Get(w.ctx, client.ObjectKey{Namespace: ns, Name: desk}, s))
	require.ErrorContains(w.t, bad.Delete(w.ctx, s), "belongs to somebody else")
	require.ErrorContains(w.t, bad.Create(w.ctx, w.sessionIn(ns, "other", alice)), `set spec.user to "mallory@example.com"`)
	w.allowed("and has their own", func() error { return bad.Create(w.ctx, w.sessionIn(ns, "other", mallory.name)) })

	w.allowed("an administrator ends it", func() error { return p.really(w.t, teamAdmin).Delete(w.ctx, s) })
	w.allowed("and makes it anew", func() error {
		return client.IgnoreAlreadyExists(p.really(w.t, teamAdmin).Create(w.ctx, w.sessionIn(ns, "for-alice", alice)))
	})
}

// warnings tell what a namespace lacks.
func (w *world) warnings(p *plane) {
	w.t.Helper()
	config := p.RESTConfig()
	heard := &listener{}
	config.WarningHandlerWithContext = heard
	c, err := client.New(config, client.Options{Scheme: run.Scheme()})
	require.NoError(w.t, err)
	trial := func(ns string) error { return c.Create(w.ctx, w.sessionIn(ns, "trial", alice), client.DryRunAll) }
	require.EventuallyWithT(w.t, func(t *assert.CollectT) {
		heard.forget()
		assert.NoError(t, trial(w.ns))
		assert.Contains(t, heard.all(), "kubectl label namespace "+w.ns+" pod-security.kubernetes.io/enforce=restricted")
		assert.Contains(t, heard.all(), "kubectl label namespace "+w.ns+" vdi.kasm.io/sessions=true")
	}, othersWork, glance)
	heard.forget()
	require.NoError(w.t, trial("shared"))
	require.Empty(w.t, heard.all())
}

// listener keeps the API server's warnings.
type listener struct {
	mu    sync.Mutex
	heard []string
}

func (l *listener) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, text)
}

func (l *listener) forget() { l.mu.Lock(); defer l.mu.Unlock(); l.heard = nil }

func (l *listener) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.heard, "\n")
}

// artistsOnly goes by the page's recipe: everybody may use every template, until an
// administrator has said who may use what.
func (w *world) artistsOnly(p *plane, ns string) {
	w.t.Helper()
	artist := visitor{name: "bob@example.com", groups: []string{"artists"}}
	w.bind(ns, "vdi-user", artist)
	start := func(who visitor, template string) error {
		s := w.sessionIn(ns, "from-"+template, who.name)
		s.Spec.Template = template
		return p.really(w.t, who).Create(w.ctx, s, client.DryRunAll)
	}
	w.allowed("everybody uses every template", func() error { return start(mallory, "blender") })
	w.recipe(p, "## A template for artists only\n")
	// What an upgrade with tenancy.templates.everyone=false takes away.
	require.NoError(w.t, w.client.Delete(w.ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "vdi-template-user:everyone"}}))
	require.EventuallyWithT(w.t, func(t *assert.CollectT) {
		assert.ErrorContains(t, start(mallory, "blender"), `spec.template: "mallory@example.com" may not use template "blender"`)
	}, othersWork, glance)
	w.allowed("artists use theirs", func() error { return start(artist, "blender") })
	for _, who := range []visitor{artist, mallory} {
		w.allowed("everybody uses what is for all", func() error { return start(who, "plain-desktop") })
	}
	require.Error(w.t, start(artist, "kiosk"), "nobody was given it")
	require.NoError(w.t, p.really(w.t, teamAdmin).Create(w.ctx, w.sessionIn(ns, "by-admin", alice), client.DryRunAll), "administrators are not asked")

	// A desktop from a template that its user may use no longer is theirs all the same.
	c, s := p.really(w.t, mallory), &vdi.VDISession{}
	require.NoError(w.t, c.Get(w.ctx, client.ObjectKey{Namespace: ns, Name: "other"}, s))
	require.ErrorContains(w.t, start(mallory, s.Spec.Template), "may not use template")
	before := s.DeepCopy()
	suspend(s)
	require.NoError(w.t, c.Patch(w.ctx, s, client.MergeFrom(before)))
	require.NoError(w.t, c.Delete(w.ctx, s))
}

// recipe runs the tenancy page's first block of commands after a text.
func (w *world) recipe(p *plane, after string) {
	w.t.Helper()
	top, err := repositoryRoot()
	require.NoError(w.t, err)
	_, rest, found := strings.Cut(tenancyPage(w.t), after)
	require.True(w.t, found, "the page has no %q", after)
	_, rest, _ = strings.Cut(rest, "```console\n")
	script, _, _ := strings.Cut(rest, "```")
	require.NotEmpty(w.t, script, "no command after %q", after)
	shell := exec.CommandContext(w.t.Context(), "bash", "-ec", script)
	shell.Env = append(os.Environ(), "KUBECONFIG="+p.Kubeconfig(), "PATH="+filepath.Join(top, "bin")+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	require.NoError(w.t, err, "%s: %s", script, out)
}

// namespaceEnds: no policy holds up the end of a namespace with desktops.
func (w *world) namespaceEnds(ns string) {
	w.t.Helper()
	require.NoError(w.t, w.client.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	w.eventually(func() bool {
		return apierrors.IsNotFound(w.client.Get(w.ctx, client.ObjectKey{Name: ns}, &corev1.Namespace{}))
	}, "the namespace goes with its desktops")
}

// tableIsTrue asks the API server about every cell of the page's table of rights.
func (w *world) tableIsTrue(p *plane) {
	w.t.Helper()
	columns := map[string]visitor{}
	for _, role := range []string{"vdi-user", "vdi-viewer", "vdi-admin", "vdi-catalogue", "vdi-template-user"} {
		in, everywhere := visitor{name: "one@" + role}, visitor{name: "all@" + role}
		w.bind(w.ns, role, in)
		w.bind("", role, everywhere)
		columns[role] = in
	}
	columns["operator"], columns["front door"] = operator, frontDoor
	header, rows := pageTable(w.t, "| may they … |")
	require.Len(w.t, header, len(columns)+1)
	require.Greater(w.t, len(rows), 12)
	for _, row := range rows {
		verb, resource, ok := strings.Cut(strings.Trim(row[0], "`"), " ")
		require.True(w.t, ok, row[0])
		for i, cell := range row[1:] {
			who, known := columns[header[i+1]]
			require.True(w.t, known, header[i+1])
			want := map[string]bool{"yes": true, "–": false, "by ClusterRoleBinding": false}
			require.Contains(w.t, want, cell)
			w.requireMay(who, verb, resource, want[cell])
			if strings.HasPrefix(who.name, "one@") {
				w.requireMay(visitor{name: "all@" + strings.TrimPrefix(who.name, "one@")}, verb, resource, cell != "–")
			}
		}
	}
}

func (w *world) requireMay(who visitor, verb, resource string, want bool) {
	w.t.Helper()
	groupResource, subresource, _ := strings.Cut(resource, "/")
	name, group, _ := strings.Cut(groupResource, ".")
	ns := w.ns
	if slices.Contains([]string{"vditemplates", "vdiquotas", "vdiusages", "nodes"}, name) && verb != "use" { // which is asked in a session's namespace
		ns = ""
	}
	if strings.HasPrefix(name, "vdi") {
		group = vdi.GroupVersion.Group
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               who.name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: ns, Verb: verb, Group: group, Resource: name, Subresource: subresource},
	}}
	require.NoError(w.t, w.client.Create(w.ctx, review))
	assert.Equal(w.t, want, review.Status.Allowed, "%s: %s %s", who.name, verb, resource)
}

// tenancyPage is what administrators read about who may do what.
func tenancyPage(t *testing.T) string {
	t.Helper()
	top, err := repositoryRoot()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(top, "charts", "vdi-operator", "docs", "tenancy.md"))
	require.NoError(t, err)
	return string(text)
}

// pageTable is a table of the tenancy page by the beginning of its header.
func pageTable(t *testing.T, begin string) (header []string, rows [][]string) {
	t.Helper()
	_, table, found := strings.Cut(tenancyPage(t), begin)
	require.True(t, found, "the page has no table %q", begin)
	for i, line := range strings.Split(begin+table, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		switch i {
		case 0:
			header = cells
		case 1: // the line between
		default:
			require.Len(t, cells, len(header), line)
			rows = append(rows, cells)
		}
	}
	return header, rows
}

// allowed waits: rights and policies reach the API server's own cache in a moment.
func (w *world) allowed(what string, do func() error) {
	w.t.Helper()
	require.EventuallyWithT(w.t, func(t *assert.CollectT) { assert.NoError(t, do()) }, othersWork, glance, what)
}
