package validate

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Options say what is to be validated. What is empty is found out.
type Options struct {
	// Kubeconfig is the file that leads to the cluster, with an administrator's rights.
	Kubeconfig string
	// Namespace of the release.
	Namespace string
	// Release is its name, needed where there are several.
	Release string
	// Domain of the desktops; empty: the release's.
	Domain string
	// Template of the desktop that is tried; empty: the first that can be used.
	Template string
	// Address of the proxy, where the names of desktops cannot be resolved: HOST or HOST:PORT.
	Address string
	// Authority is a file with certificates (PEM) that browsers trust besides the public ones.
	Authority string
	// PullSecretsFrom is the namespace with the Secrets that sessions.images.pullSecrets
	// names: they are copied for the desktop that is tried.
	PullSecretsFrom string
	// Prometheus is the address of one that should read the platform's metrics.
	Prometheus string
	// Install installs the release first, from Chart, which is whatever helm takes, and with
	// the file Values.
	Install       bool
	Chart, Values string
	// Quick leaves out everything that needs a desktop.
	Quick bool
	// Patience is how long one wait may take.
	Patience time.Duration
}

// Defaults of Options.
const (
	defaultNamespace = "vdi-system"
	defaultRelease   = "vdi"
	defaultPatience  = 5 * time.Minute
	// maxPatience keeps a whole run below the time that `go test` gives it.
	maxPatience = 15 * time.Minute
)

// FromEnvironment reads the variables of `make validate`. Errors say what to set.
func FromEnvironment(get func(string) string) (Options, error) {
	o := Options{
		Kubeconfig: get("KUBECONFIG"), Namespace: get("NAMESPACE"), Release: get("HELM_RELEASE"), Domain: get("DOMAIN"),
		Template: get("TEMPLATE"), Address: get("ADDRESS"), Authority: get("CA"), Prometheus: get("PROMETHEUS"),
		PullSecretsFrom: get("PULL_SECRETS_FROM"),
		Chart:           get("CHART"), Values: get("VALUES"),
	}
	var errs []error
	for name, to := range map[string]*bool{"INSTALL": &o.Install, "QUICK": &o.Quick} {
		var err error
		if *to, err = yes(name, get(name)); err != nil {
			errs = append(errs, err)
		}
	}
	if text := get("PATIENCE"); text != "" {
		var err error
		if o.Patience, err = time.ParseDuration(text); err != nil {
			errs = append(errs, fmt.Errorf("PATIENCE=%s is no duration such as 5m", text))
		} else if o.Patience <= 0 || o.Patience > maxPatience {
			errs = append(errs, fmt.Errorf("PATIENCE=%s: give more than nothing and at most %s", text, maxPatience))
		}
	}
	return o, errors.Join(append(errs, o.check())...)
}

func yes(name, text string) (bool, error) {
	switch text {
	case "":
		return false, nil
	case "1":
		return true, nil
	}
	return false, fmt.Errorf("%s=%s: give 1, or leave it out", name, text)
}

// check finds what cannot work before anything is asked.
func (o Options) check() error {
	if o.Kubeconfig == "" {
		return errors.New("KUBECONFIG is not set: export KUBECONFIG=FILE of an administrator of the cluster")
	}
	if strings.Contains(o.Kubeconfig, string(os.PathListSeparator)) {
		return errors.New("KUBECONFIG names several files: name the one to go by, as `kubectl config view --flatten --minify` writes it")
	}
	for name, file := range map[string]string{"KUBECONFIG": o.Kubeconfig, "CA": o.Authority, "VALUES": o.Values} {
		if _, err := os.Stat(file); file != "" && err != nil {
			return fmt.Errorf("%s=%s cannot be read: %w", name, file, err)
		}
	}
	if o.Install && o.Values == "" {
		return errors.New("INSTALL=1 needs VALUES=FILE, such as a copy of values/production.yaml with your domain in it")
	}
	if o.Install && o.Chart == "" {
		return errors.New("INSTALL=1 needs a chart: run it by `make validate`, which packages this checkout's, or give CHART=")
	}
	if !o.Install && (o.Values != "" || o.Chart != "") {
		return errors.New("VALUES and CHART are for INSTALL=1: what is installed has values of its own")
	}
	if u, err := url.Parse(o.Prometheus); o.Prometheus != "" && (err != nil || u.Host == "") {
		return fmt.Errorf("PROMETHEUS=%s is no address such as http://localhost:9090", o.Prometheus)
	}
	return nil
}

// withDefaults fills in what needs no cluster.
func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = defaultNamespace
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return o
}

// Limit is how long everything may take before the way out: an installation, a start, a
// probe, a suspension and a resumption wait for Patience each, and all else is short.
func (o Options) Limit() time.Duration {
	const waits, short = 5, 20 * time.Minute
	return waits*o.withDefaults().Patience + short
}

// dialAddress is where connections for a host's port go.
func (o Options) dialAddress(host string, port int) string {
	if o.Address == "" {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if _, _, err := net.SplitHostPort(o.Address); err == nil {
		return o.Address
	}
	return net.JoinHostPort(strings.Trim(o.Address, "[]"), strconv.Itoa(port))
}
