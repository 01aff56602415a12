package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// labelVersion is the release that an object came with.
const labelVersion = "app.kubernetes.io/version"

// Release judges the platform's own Deployments where nobody knows which ones there should
// be: one at least, each with all its pods, and all of the version of whoever asks. A client
// that was built from a checkout, without a version of its own, asks nothing of them.
func Release(deployments []appsv1.Deployment, client string) Verdict {
	if len(deployments) == 0 {
		return Fail("no Deployment of the platform is there").With("install it, or choose the context of the cluster that has it")
	}
	version, err := semver.NewVersion(client)
	released := err == nil && !version.Equal(semver.New(0, 0, 0, version.Prerelease(), ""))
	var wanted, differ []string
	for _, d := range deployments {
		wanted = append(wanted, "Deployment/"+d.Name)
		if v := d.Labels[labelVersion]; v != client && released {
			differ = append(differ, fmt.Sprintf("%s is of version %s", d.Name, v))
		}
	}
	v := Programs(wanted, deployments, nil)
	if v.State == Passed && len(differ) > 0 {
		return Unjudged("%s; this program is of version %s", List(differ), client).With("use the kubectl vdi of the same release: its rules are that release's")
	}
	return v
}

// Policies are the parts of admission.enabled, as the names of policies begin.
func Policies() []string {
	return []string{
		"drain", "endpoints", "labels", "namespaces", "operator", "operator-gpus", "operator-homes", "operator-pods", "operator-sessions",
		"places", "quotas", "requested-by", "routes", "sessions",
	}
}

// Guarded judges the admission policies by their names, PART.RELEASE.NAMESPACE, and by those
// of their bindings, which are the same.
func Guarded(policies, bindings []string) Verdict {
	releases := map[string][]string{}
	for _, name := range policies {
		part, release, _ := strings.Cut(name, ".")
		if slices.Contains(Policies(), part) {
			releases[release] = append(releases[release], part)
		}
	}
	if len(releases) == 0 {
		return Unjudged("no admission policy of the platform is there: people's sessions are guarded by RBAC alone").
			With("set admission.enabled=true, unless another admission controller has the same rules")
	}
	var missing []string
	for release, parts := range releases {
		for _, part := range Policies() {
			name := part + "." + release
			switch {
			case !slices.Contains(parts, part):
				missing = append(missing, "ValidatingAdmissionPolicy/"+name)
			case !slices.Contains(bindings, name):
				missing = append(missing, "ValidatingAdmissionPolicyBinding/"+name)
			}
		}
	}
	if len(missing) > 0 {
		return Fail("%s is gone: what it forbids is allowed", List(missing))
	}
	return Pass("all %d policies and bindings are there", 2*len(Policies()))
}

// Roles judges whether the roles are there that administrators bind to people.
func Roles(found []string) Verdict {
	wanted := []string{"vdi-admin", "vdi-catalogue", "vdi-template-user", "vdi-user", "vdi-viewer"}
	missing := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return slices.Contains(found, name) })
	switch {
	case len(missing) == len(wanted):
		return Unjudged("none of the roles for people is there").With("set tenancy.roles.create=true, unless your own roles grant the same")
	case len(missing) > 0:
		return Fail("ClusterRole %s is gone: whoever has it by a binding may do nothing", List(missing))
	}
	return Pass("%s are there", List(wanted))
}

// Templates judges whether desktops can be made from what is on offer.
func Templates(all []vdi.VDITemplate) Verdict {
	var bad []string
	for _, t := range all {
		c := meta.FindStatusCondition(t.Status.Conditions, vdi.ConditionValid)
		switch {
		case c == nil || t.Status.ObservedGeneration < t.Generation:
			return Unjudged("the operator has not looked at template %s yet", t.Name).With("run this again in a moment; if it stays, look at the operator's log")
		case c.Status != metav1.ConditionTrue:
			bad = append(bad, t.Name+": "+c.Message)
		}
	}
	switch {
	case len(all) == 0:
		return Fail("there is no template: nobody can make a desktop").With("kubectl apply -f values/templates/plain-desktop.yaml, or set templates in the chart's values")
	case len(bad) > 0:
		return Fail("%s", strings.Join(bad, "; ")).With("correct the template: the message names the field")
	}
	return Pass("templates that can be used: %d", len(all))
}

// Encoders says what the GPUs of the nodes encode video with.
func Encoders(nodes []corev1.Node) Verdict {
	var known, unknown []string
	for _, n := range nodes {
		gpu, has := platform.GPUNodeOf(n.Labels)
		switch {
		case !has:
		case platform.HasNVENC(gpu.Product):
			known = append(known, n.Name+" has NVENC")
		case platform.LacksNVENC(gpu.Product):
			known = append(known, n.Name+" has none ("+gpu.Product+")")
		default:
			unknown = append(unknown, fmt.Sprintf("%s (product %q)", n.Name, gpu.Product))
		}
	}
	switch {
	case len(unknown) > 0:
		return Unjudged("nobody knows the encoder of %s: templates with gpu.encoder Auto use software there", List(unknown)).
			With("let GPU feature discovery label the node, or set gpu.encoder: NVENC in templates whose nodes have it")
	case len(known) == 0:
		return Unjudged("no node is labelled as one with an NVIDIA GPU").With("where one has: look at the GPU Operator's pods, which label the nodes")
	}
	return Pass("%s", List(known))
}

// isDefaultClass marks the StorageClass of claims that name none.
const isDefaultClass = "storageclass.kubernetes.io/is-default-class"

// Storage judges where homes come from that name no class.
func Storage(classes []storagev1.StorageClass) Verdict {
	var byDefault []storagev1.StorageClass
	for _, c := range classes {
		if c.Annotations[isDefaultClass] == wire.LabelOn {
			byDefault = append(byDefault, c)
		}
	}
	switch len(byDefault) {
	case 0:
		return Fail("no StorageClass is the default: desktops whose spec names none wait for their home for ever").
			With("kubectl annotate storageclass NAME %s=true, or name one in spec.persistence.storageClassName", isDefaultClass)
	case 1:
	default:
		return Unjudged("%d StorageClasses are the default: the newest one counts", len(byDefault)).With("take the annotation %s off the others", isDefaultClass)
	}
	c := byDefault[0]
	if c.AllowVolumeExpansion == nil || !*c.AllowVolumeExpansion {
		return Pass("%s is the default; its volumes cannot grow, so homes keep the size that they were made with", c.Name)
	}
	return Pass("%s is the default, and its volumes can grow", c.Name)
}

// Stuck names the sessions that wait for a person to change something.
func Stuck(sessions []vdi.VDISession) Verdict {
	var stuck []string
	for _, s := range sessions {
		if meta.IsStatusConditionTrue(s.Status.Conditions, vdi.ConditionStalled) {
			stuck = append(stuck, s.Namespace+"/"+s.Name)
		}
	}
	if len(stuck) > 0 {
		name, shown := strings.Split(stuck[0], "/"), stuck[:min(len(stuck), 5)]
		more := ""
		if len(stuck) > len(shown) {
			more = fmt.Sprintf(" and %d more", len(stuck)-len(shown))
		}
		return Fail("sessions that do not go on by themselves: %d of %d, %s%s", len(stuck), len(sessions), List(shown), more).
			With("kubectl vdi why %s -n %s says what each needs", name[1], name[0])
	}
	return Pass("sessions: %d, and none waits for a person", len(sessions))
}

// Homes says how many homes nobody has, and whether each has an end.
func Homes(claims []corev1.PersistentVolumeClaim, now time.Time) Verdict {
	left, forever := 0, 0
	for i := range claims {
		if !kept.HomeLeft(&claims[i]) {
			continue
		}
		left++
		if _, ends := kept.EndOf(&claims[i], now); !ends {
			forever++
		}
	}
	if forever > 0 {
		return Pass("homes without a session: %d, of them kept for ever: %d; kubectl vdi homes --left lists them", left, forever)
	}
	return Pass("homes without a session: %d, each with an end", left)
}

// Proxies judges the versions of Traefik by their images: earlier ones let strangers act with
// the logins of others (CVE-2026-71324).
func Proxies(images []string) Verdict {
	if len(images) == 0 {
		return Unjudged("no Deployment of Traefik is there (app.kubernetes.io/name=traefik)").With("make validate asks the proxy itself, whichever it is")
	}
	for _, image := range images {
		name := image[strings.LastIndex(image, "/")+1:]
		name, _, _ = strings.Cut(name, "@")
		_, tag, _ := strings.Cut(name, ":")
		version, err := semver.NewVersion(tag)
		switch {
		case err != nil:
			return Unjudged("image %s does not say its version", image).With("make validate asks the proxy itself")
		case !isSafeProxy(version):
			return Fail("Traefik %s hands on what follows an HTTP/2 CONNECT, by which strangers act with the logins of others (CVE-2026-71324)", version).
				With("update Traefik to 3.6.25, 3.7.11 or newer")
		}
	}
	return Pass("%s", List(images))
}

func isSafeProxy(v *semver.Version) bool {
	if v.Major() == 3 && v.Minor() == 6 {
		return v.Patch() >= 25
	}
	return !v.LessThan(semver.MustParse("3.7.11"))
}

// Monitors says whether Prometheus is led to the platform. Served: the cluster knows
// the kind ServiceMonitor.
func Monitors(served bool, count int) Verdict {
	switch {
	case !served:
		return Unjudged("this cluster has no Prometheus Operator (kind ServiceMonitor)").With("let your Prometheus read the operator's Service, port metrics")
	case count == 0:
		return Unjudged("no ServiceMonitor of the platform is there: nobody reads its metrics").With("set serviceMonitor.enabled=true")
	}
	return Pass("%d ServiceMonitors of the platform are there; make validate asks Prometheus whether it reads them", count)
}
