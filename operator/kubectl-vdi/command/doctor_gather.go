package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Labels of what the charts make.
const (
	ofPlatform = "app.kubernetes.io/part-of=vdi-platform"
	ofOperator = "app.kubernetes.io/name=vdi-operator,app.kubernetes.io/component=operator"
	ofTraefik  = "app.kubernetes.io/name=traefik"
)

// dialTime bounds one question over the network.
const dialTime = 10 * time.Second

// Resources that the doctor reads beside those of the other commands.
var (
	definitionResource  = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	deploymentResource  = appsv1.SchemeGroupVersion.WithResource("deployments")
	policyResource      = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	bindingResource     = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
	clusterRoleResource = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	classResource       = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	monitorResource     = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}
)

// patient is an installation that is examined. What several checks need is read once.
type patient struct {
	*survey
	now     time.Time
	version string         // of this program
	roots   *x509.CertPool // that browsers know; nil: this machine's

	lists map[string]any // answers to listed
}

// answer is a list, or why there is none.
type answer[T any] struct {
	all []T
	err error
}

// listed reads a list of the cluster's, once.
func listed[T any](p *patient, resource schema.GroupVersionResource, labels string) ([]T, error) {
	key := resource.String() + labels
	known, found := p.lists[key].(answer[T])
	if !found {
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
		defer cancel()
		known.all, known.err = every[T](ctx, p.list(resource), labels)
		p.lists[key] = known
	}
	return known.all, known.err
}

// unread is the verdict where something could not be read.
func unread(resource schema.GroupVersionResource, err error) doctor.Verdict {
	switch {
	case apierrors.IsForbidden(err):
		return doctor.Unjudged("you lack the right to list %s", resource.Resource).With("have it run by an administrator of the cluster")
	case isKindMissing(err) && resource.Group == vdi.GroupVersion.Group:
		return doctor.Fail("the cluster does not know the kind of %s", resource.Resource).With("install the platform, or choose the context of the cluster that has it")
	}
	return doctor.Unjudged("%s could not be read: %v", resource.Resource, err).With("run this again when the API server answers")
}

func (p *patient) definitions() doctor.Verdict {
	wanted, err := doctor.Definitions()
	if err != nil {
		return doctor.Unjudged("%v", err)
	}
	found, err := listed[apiextensionsv1.CustomResourceDefinition](p, definitionResource, "")
	if err != nil {
		return unread(definitionResource, err)
	}
	return doctor.CRDs(wanted, found)
}

func (p *patient) programs() doctor.Verdict {
	found, err := listed[appsv1.Deployment](p, deploymentResource, ofPlatform)
	if err != nil {
		return unread(deploymentResource, err)
	}
	return doctor.Release(found, p.version)
}

func (p *patient) admission() doctor.Verdict {
	policies, err := p.namesOf(policyResource)
	if err != nil {
		return unread(policyResource, err)
	}
	bindings, err := p.namesOf(bindingResource)
	if err != nil {
		return unread(bindingResource, err)
	}
	return doctor.Guarded(policies, bindings)
}

func (p *patient) roles() doctor.Verdict {
	found, err := p.namesOf(clusterRoleResource)
	if err != nil {
		return unread(clusterRoleResource, err)
	}
	return doctor.Roles(found)
}

// namesOf are the names of the platform's objects of a kind.
func (p *patient) namesOf(resource schema.GroupVersionResource) (names []string, err error) {
	all, err := listed[metav1.PartialObjectMetadata](p, resource, ofPlatform)
	for _, o := range all {
		names = append(names, o.Name)
	}
	return names, err
}

func (p *patient) templates() doctor.Verdict {
	all, err := listed[vdi.VDITemplate](p, templateResource, "")
	if err != nil {
		return unread(templateResource, err)
	}
	return doctor.Templates(all)
}

func (p *patient) storage() doctor.Verdict {
	all, err := listed[storagev1.StorageClass](p, classResource, "")
	if err != nil {
		return unread(classResource, err)
	}
	return doctor.Storage(all)
}

func (p *patient) slices() doctor.Verdict {
	nodes, err := listed[corev1.Node](p, core("nodes"), "")
	if err != nil {
		return unread(core("nodes"), err)
	}
	written, err := p.gpuStatus(p.ctx)
	if err != nil {
		return unread(core("configmaps"), err)
	}
	return doctor.Slices(written != nil, written, nodes)
}

func (p *patient) encoders() doctor.Verdict {
	nodes, err := listed[corev1.Node](p, core("nodes"), "")
	if err != nil {
		return unread(core("nodes"), err)
	}
	return doctor.Encoders(nodes)
}

// errNoSettings: nothing here says how the platform is set up.
var errNoSettings = errors.New("no ConfigMap holds the operator's settings")

// config is the operator's settings, as its ConfigMap has them.
func (p *patient) config() (platform.Config, error) {
	all, err := listed[corev1.ConfigMap](p, core("configmaps"), ofOperator)
	for _, m := range all {
		if text, found := m.Data["config.yaml"]; found {
			return platform.ParseConfig([]byte(text))
		}
	}
	if err == nil {
		err = errNoSettings
	}
	return platform.Config{}, err
}

// door is the address of a desktop: of one that runs, if there is one; nil: no session has
// one.
func (p *patient) door() (*url.URL, error) {
	all, err := listed[vdi.VDISession](p, sessionResource, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(s vdi.VDISession) bool { return s.Status.URL != "" && s.Status.Phase == vdi.PhaseRunning })
	if i < 0 {
		i = slices.IndexFunc(all, func(s vdi.VDISession) bool { return s.Status.URL != "" })
	}
	if i < 0 {
		return nil, nil
	}
	return url.Parse(all[i].Status.URL)
}

// noDoor is the verdict where no address is known.
func noDoor(err error) doctor.Verdict {
	if err != nil {
		return unread(sessionResource, err)
	}
	return doctor.Unjudged("no session has an address yet").With("make a desktop, and run this again")
}

func (p *patient) names() doctor.Verdict {
	door, err := p.door()
	if door == nil {
		return noDoor(err)
	}
	host := door.Hostname()
	_, domain, _ := strings.Cut(host, ".")
	if c, err := p.config(); err == nil {
		domain = c.Sessions.Domain
	}
	ctx, cancel := context.WithTimeout(p.ctx, dialTime)
	defer cancel()
	addresses, err := lookUp(ctx, host)
	return doctor.Names(host, domain, "", addresses, err)
}

// lookUp finds the addresses of a host as browsers do: names below localhost are this machine,
// whatever name servers say (RFC 6761 §6.3).
func lookUp(ctx context.Context, host string) ([]string, error) {
	if strings.HasSuffix(host, ".localhost") {
		return []string{"127.0.0.1"}, nil
	}
	return net.DefaultResolver.LookupHost(ctx, host)
}

func (p *patient) certificate() doctor.Verdict {
	door, err := p.door()
	if door == nil {
		return noDoor(err)
	}
	port := door.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(p.ctx, dialTime)
	defer cancel()
	// What it is worth is judged below, in words.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: door.Hostname(), InsecureSkipVerify: true}} //nolint:gosec
	var conn net.Conn
	addresses, err := lookUp(ctx, door.Hostname())
	if err == nil {
		conn, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort(addresses[0], port))
	}
	if err != nil {
		return doctor.Fail("nothing speaks TLS at %s: %v", door.Host, err).With("look at the proxy's Service and pods, and whether its address can be reached from here")
	}
	defer conn.Close()
	return doctor.Certificate(door.Hostname(), conn.(*tls.Conn).ConnectionState().PeerCertificates, p.roots, p.now)
}

func (p *patient) proxy() doctor.Verdict {
	found, err := listed[appsv1.Deployment](p, deploymentResource, ofTraefik)
	if err != nil {
		return unread(deploymentResource, err)
	}
	var images []string
	for _, d := range found {
		for _, c := range d.Spec.Template.Spec.Containers {
			images = append(images, c.Image)
		}
	}
	return doctor.Proxies(images)
}

// relay asks over TCP alone: whether UDP gets through shows only in an answer of TURN.
func (p *patient) relay() doctor.Verdict {
	c, err := p.config()
	switch {
	case errors.Is(err, errNoSettings):
		return doctor.Unjudged("%v", err).With("see the line programs")
	case err != nil:
		return unread(core("configmaps"), err)
	}
	turn := c.Sessions.TURN
	ports := map[string]int32{}
	if slices.Contains(turn.Transports, platform.TURNOverTCP) {
		ports["tcp"] = turn.Port
	}
	if turn.TLSPort > 0 {
		ports["tls"] = turn.TLSPort
	}
	answers := map[string]error{}
	for transport, port := range ports {
		dialer := net.Dialer{Timeout: dialTime}
		conn, err := dialer.DialContext(p.ctx, "tcp", net.JoinHostPort(turn.Host, strconv.Itoa(int(port))))
		if answers[transport] = err; err == nil {
			_ = conn.Close()
		}
	}
	if turn.Enabled() && len(answers) == 0 {
		return doctor.Unjudged("the relay %s:%d is reached over UDP alone, which is not tried", turn.Host, turn.Port).With("make validate asks it")
	}
	return doctor.Relay(turn.Host, int(turn.Port), answers)
}

func (p *patient) metrics() doctor.Verdict {
	found, err := p.namesOf(monitorResource)
	switch {
	case err == nil:
		return doctor.Monitors(true, len(found))
	case isKindMissing(err):
		return doctor.Monitors(false, 0)
	}
	return unread(monitorResource, err)
}

func (p *patient) stuck() doctor.Verdict {
	all, err := listed[vdi.VDISession](p, sessionResource, "")
	if err != nil {
		return unread(sessionResource, err)
	}
	return doctor.Stuck(all)
}

func (p *patient) homes() doctor.Verdict {
	all, err := listed[corev1.PersistentVolumeClaim](p, core("persistentvolumeclaims"), ofSessions)
	if err != nil {
		return unread(core("persistentvolumeclaims"), err)
	}
	return doctor.Homes(all, p.now)
}
