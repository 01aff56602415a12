// Command vdi-demo shows the main job really done: a local Kubernetes, the
// platform installed with helm, a VDISession, and a URL that works.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

const (
	name      = "demo"
	localPort = 8443 // values/local.yaml: sessions.externalPort
	patience  = 10 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch strings.Join(args, " ") {
	case "up":
		return up(ctx, out)
	case "down":
		return down(ctx, out)
	default:
		return errors.New("usage: vdi-demo up|down")
	}
}

// down also looks whether anything is left, and fails if so.
func down(ctx context.Context, out io.Writer) error {
	if os.Getenv("VDI_CLUSTER") == "existing" {
		return leave(ctx, out)
	}
	if err := cluster.Down(ctx, name); err != nil {
		return err
	}
	fmt.Fprintln(out, "the demo is gone: no process, mount, interface, firewall rule or file of it is left")
	return nil
}

func up(ctx context.Context, out io.Writer) error {
	out = &lines{to: out}
	fmt.Fprintln(out, "The first demo takes about 20 minutes on two cores, since all that it runs is built; the next one a minute or two.")
	c, err := start(ctx, out)
	if err != nil {
		return err
	}
	p, err := install.Prepare(ctx, c, out, install.DemoImages()...)
	if err != nil {
		return err
	}
	people, err := p.People(ctx)
	if err != nil {
		return err
	}
	if err := p.Release(ctx); err != nil {
		return err
	}
	session, err := desktop(ctx, p, out)
	if err != nil {
		return err
	}
	return show(ctx, p, session, people, out)
}

// lines lets several steps report at once: each line is written whole.
type lines struct {
	sync.Mutex
	to io.Writer
}

func (l *lines) Write(text []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.to.Write(text)
}

// start brings up a local cluster, or uses the one that KUBECONFIG names when
// VDI_CLUSTER=existing. Beside that it begins with the desktop's image, which waits for packages
// most of the time while the cores are busy with compiling.
func start(ctx context.Context, out io.Writer) (c *cluster.Cluster, err error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		root, err := standins.RepositoryRoot()
		if err != nil {
			return err
		}
		return install.DesktopImage().Build(ctx, root, out)
	})
	both.Go(func() (err error) {
		if os.Getenv("VDI_CLUSTER") == "existing" {
			c, err = cluster.Open(name)
			return err
		}
		c, err = cluster.Up(ctx, cluster.Options{
			Name: name, Progress: out,
			Forwards: []cluster.Forward{{Host: localPort, Node: install.NodePort}},
		})
		return err
	})
	err = both.Wait()
	return c, err
}

// desktop creates the template and the session and waits until it runs.
func desktop(ctx context.Context, p *install.Platform, out io.Writer) (*vdi.VDISession, error) {
	template, err := install.Template()
	if err != nil {
		return nil, err
	}
	session, err := install.Session()
	if err != nil {
		return nil, err
	}
	if err := fit(ctx, p, session, out); err != nil {
		return nil, err
	}
	for _, o := range []client.Object{template, session} {
		if err := p.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = install.Step(out, "VDISession "+session.Name, func() error {
		session, err = p.WaitFor(ctx, client.ObjectKeyFromObject(session), install.Running)
		return err
	})
	if err == nil && session.Status.Access != nil && session.Status.Access.Mode == vdi.AccessMode(wire.AccessPassword) {
		return nil, fmt.Errorf("the desktop is one that the demo started before people logged in at the portal: run `%smake demo-down` and this again", again(p))
	}
	return session, err
}

// show proves that the URL works, and prints what a person needs. The desktop is the first
// one's of the people.
func show(ctx context.Context, p *install.Platform, s *vdi.VDISession, people []install.Login, out io.Writer) error {
	proxy := fmt.Sprintf("127.0.0.1:%d", localPort)
	end, err := reach(ctx, p, proxy, out)
	if err != nil {
		return err
	}
	defer end()
	if err := prove(ctx, p, s.Status.URL, proxy, people, out); err != nil {
		return err
	}
	ca, err := p.WriteAuthority()
	if err != nil {
		return err
	}
	list, err := p.Kubectl(ctx, "get", "vdi", "--all-namespaces")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\n", list)
	fmt.Fprintf(out, "  portal    %s/\n", install.Portal)
	for _, person := range people {
		fmt.Fprintf(out, "  login     %s, password %s\n", person.Name, person.Password)
	}
	fmt.Fprintf(out, "  desktop   %s (%s's)\n\n", s.Status.URL, people[0].Name)
	fmt.Fprintf(out, "The browser warns once, because the certificate's authority is the demo's own (%s).\n", ca)
	fmt.Fprintf(out, "Look around:  export KUBECONFIG=%s; bin/kubectl get vdi -A\n", p.Cluster.KubeconfigPath())
	fmt.Fprintln(out, "Take it down: "+again(p)+"make demo-down")
	return nil
}

// prove asks for the page without a login, with the one of whose desktop it is, and with
// another one's.
func prove(ctx context.Context, p *install.Platform, page, proxy string, people []install.Login, out io.Writer) error {
	stranger, err := p.Get(ctx, page, proxy, "", "")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "── without a login: %d (certificate %s)\n", stranger.Code, stranger.Host)
	owner, err := p.LogIn(ctx, page, proxy, people[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "── logged in as %s: %d, page title %q\n", people[0].Name, owner.Code, title(owner.Body))
	other, err := p.LogIn(ctx, page, proxy, people[1])
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "── logged in as %s: %d\n", people[1].Name, other.Code)
	if stranger.Code != http.StatusUnauthorized || owner.Code != http.StatusOK || title(owner.Body) == "" || other.Code != http.StatusForbidden {
		return errors.New("the desktop does not answer as it should: 401 without a login, its page for whose it is, 403 for anybody else")
	}
	return nil
}

func title(page string) string {
	_, rest, _ := strings.Cut(page, "<title>")
	text, _, found := strings.Cut(rest, "</title>")
	if !found {
		return ""
	}
	return strings.TrimSpace(text)
}
