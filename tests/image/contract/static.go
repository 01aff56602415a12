package contract

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Machine is the platform that images are judged for: this machine's.
func Machine() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// facts are what an archive says of its image.
type facts struct {
	config   v1.ConfigFile
	accounts []account
}

// account is a line of /etc/passwd.
type account struct {
	name, home string
	uid        int64
}

// wanted is what the platform makes of a template, as far as an image must fit it.
type wanted struct {
	template vdi.VDITemplateSpec
	streamer platform.StreamerFacts
	uid      int64
	home     string
	port     int64
}

// Static judges what can be seen without running the image.
func Static(img v1.Image, p *Plan) ([]doctor.Line, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	passwd, err := accounts(img)
	if err != nil {
		return nil, fmt.Errorf("read the image's layers: %w", err)
	}
	return static(facts{*config, accountsIn(passwd)}, p.wanted), nil
}

// static is pure.
func static(f facts, w wanted) []doctor.Line {
	return []doctor.Line{
		doctor.Of("architecture", "build or pull the image for the nodes' architecture", architecture(f)),
		doctor.Of("program", "ENTRYPOINT or CMD in the image, or spec.command in the template", program(f, w)),
		doctor.Of("user", "", user(f, w)),
		doctor.Of("home", "", home(f, w)),
		doctor.Of("port", "", port(f, w)),
		doctor.Of("variables", "", variables(f, w)),
	}
}

func architecture(f facts) doctor.Verdict {
	is, nodes := f.config.OS+"/"+f.config.Architecture, Machine()
	if is != nodes.OS+"/"+nodes.Architecture {
		return doctor.Fail("the image is for %s, this machine and its cluster are %s/%s", is, nodes.OS, nodes.Architecture)
	}
	return doctor.Pass("the image is for %s", is)
}

func program(f facts, w wanted) doctor.Verdict {
	words := slices.Concat(f.config.Config.Entrypoint, w.template.Args)
	if len(w.template.Args) == 0 {
		words = slices.Concat(f.config.Config.Entrypoint, f.config.Config.Cmd)
	}
	switch {
	case len(w.template.Command) > 0:
		return doctor.Pass("the template starts %s", w.template.Command[0])
	case len(words) == 0:
		return doctor.Fail("the image names no program to start")
	}
	return doctor.Pass("the image starts %s", words[0])
}

// user compares whom the image was made for with whom the pod runs it as. An image without a
// USER names root, and may work for anybody: only a run decides.
func user(f facts, w wanted) doctor.Verdict {
	written, _, _ := strings.Cut(f.config.Config.User, ":")
	uid, known := uidOf(f, written)
	switch {
	case !known:
		return doctor.Fail("the image's USER %q is not in its /etc/passwd", written).
			With("a numeric USER in the image, such as 1000:1000")
	case uid == w.uid:
		return doctor.Pass("the image is made for user %d, as whom the pod runs it", uid)
	case uid == 0:
		return doctor.Unjudged("the image starts as root, the pod runs it as user %d: only a run shows whether it works", w.uid).
			With("USER %d in the image says so; where it must start as root (s6-overlay's /init, sudo), spec.security {profile: Baseline, runAsUser: 0} in the template", w.uid)
	}
	return doctor.Fail("the image is made for user %d, the pod runs it as %d", uid, w.uid).
		With("spec.security.runAsUser: %d in the template, or USER %d in the image", uid, w.uid)
}

// uidOf finds the number of a USER; nobody is root.
func uidOf(f facts, written string) (uid int64, known bool) {
	if written == "" {
		return 0, true
	}
	if uid, err := strconv.ParseInt(written, 10, 64); err == nil {
		return uid, true
	}
	i := slices.IndexFunc(f.accounts, func(a account) bool { return a.name == written })
	if i < 0 {
		return 0, false
	}
	return f.accounts[i].uid, true
}

// home compares where programs write with where the volume is. Root's programs may hand over
// to another user, so that only HOME counts there.
func home(f facts, w wanted) doctor.Verdict {
	const remedy = "HOME=%s in the image, or in the template spec.home.path, the folder of the user in the image"
	at, said := variable(f, "HOME"), "HOME"
	if at == "" {
		i := slices.IndexFunc(f.accounts, func(a account) bool { return a.uid == w.uid })
		if i < 0 {
			return doctor.Fail("the image has neither HOME nor user %d in /etc/passwd: programs take / for their home", w.uid).With(remedy, w.home)
		}
		at, said = f.accounts[i].home, "/etc/passwd"
	}
	if strings.TrimRight(at, "/") != strings.TrimRight(w.home, "/") {
		return doctor.Fail("programs write to %s (%s of the image), the home that is kept is mounted at %s", at, said, w.home).With(remedy, w.home)
	}
	return doctor.Pass("%s of the image is %s, where the home that is kept is mounted", said, w.home)
}

// port: EXPOSE changes nothing, so that it can only confirm.
func port(f facts, w wanted) doctor.Verdict {
	var exposed []string
	for port := range f.config.Config.ExposedPorts {
		exposed = append(exposed, port)
	}
	slices.Sort(exposed)
	want := strconv.FormatInt(w.port, 10)
	switch {
	case slices.Contains(exposed, want+"/tcp") || slices.Contains(exposed, want):
		return doctor.Pass("the image exposes port %s", want)
	case len(exposed) == 0:
		return doctor.Unjudged("the image exposes no port, the agent asks port %s", want).With("EXPOSE %s in the image says so", want)
	}
	return doctor.Unjudged("the image exposes %s, the agent asks port %s", strings.Join(exposed, ", "), want).
		With("if nothing answers: let it listen on %s, or streamer Custom with its spec.port", want)
}

// variables finds those baked into the image that open a way past the agent: a template that
// sets one is refused, and an image is no better.
func variables(f facts, w wanted) doctor.Verdict {
	if len(w.streamer.Bypasses) == 0 {
		return doctor.Unjudged("which variables open a way past the agent is not known of streamer %s", w.template.Streamer).
			With("read in the image's documentation which variables switch its login off or open more ports")
	}
	var found []string
	for _, entry := range f.config.Config.Env {
		name, _, _ := strings.Cut(entry, "=")
		if w.streamer.IsBypass(name) {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		return doctor.Fail("the image sets %s, which opens a way to the desktop past the agent", strings.Join(found, ", ")).
			With("take it out of the image")
	}
	return doctor.Pass("none of the image's %d variables opens a way past the agent", len(f.config.Config.Env))
}

func variable(f facts, name string) string {
	for _, entry := range f.config.Config.Env {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

func accountsIn(passwd []byte) (all []account) {
	for line := range strings.Lines(string(passwd)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 6 {
			continue
		}
		if uid, err := strconv.ParseInt(fields[2], 10, 64); err == nil {
			all = append(all, account{name: fields[0], home: fields[5], uid: uid})
		}
	}
	return all
}
