package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

//go:embed manifests
var manifests embed.FS

// Template is the demo's template, as written in manifests/template.yaml.
func Template() (*vdi.VDITemplate, error) { return decode[vdi.VDITemplate]("manifests/template.yaml") }

// Session is the demo's session, as written in manifests/session.yaml.
func Session() (*vdi.VDISession, error) { return decode[vdi.VDISession]("manifests/session.yaml") }

func decode[T any](file string) (*T, error) {
	data, err := manifests.ReadFile(file)
	if err != nil {
		return nil, err
	}
	object := new(T)
	if err := yaml.UnmarshalStrict(data, object); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return object, nil
}

// WaitFor watches a session until the condition holds, and reports each change.
func (p *Platform) WaitFor(ctx context.Context, key client.ObjectKey, holds func(*vdi.VDISession) bool) (*vdi.VDISession, error) {
	watcher, err := p.Client.Watch(ctx, &vdi.VDISessionList{}, client.InNamespace(key.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)})
	if err != nil {
		return nil, fmt.Errorf("watch session %s: %w", key, err)
	}
	defer watcher.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("session %s: %w; last seen: %s", key, ctx.Err(), last)
		case e, open := <-watcher.ResultChan():
			s, ok := e.Object.(*vdi.VDISession)
			if !open || !ok || e.Type == watch.Deleted {
				return nil, fmt.Errorf("session %s went away; last seen: %s", key, last)
			}
			if now := fmt.Sprintf("%-9s %s", s.Status.Phase, s.Status.Message); now != last && s.Status.Phase != "" {
				last = now
				fmt.Fprintf(p.out, "   %s  %s\n", time.Now().Format(time.TimeOnly), now)
			}
			if holds(s) {
				return s, nil
			}
		}
	}
}

// Running is a condition for WaitFor.
func Running(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseRunning }

// Credentials reads the login of a session.
func (p *Platform) Credentials(ctx context.Context, s *vdi.VDISession) (user, password string, err error) {
	secret := &corev1.Secret{}
	err = p.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Status.CredentialsSecret}, secret)
	if err != nil {
		return "", "", fmt.Errorf("read credentials: %w", err)
	}
	return string(secret.Data[corev1.BasicAuthUsernameKey]), string(secret.Data[corev1.BasicAuthPasswordKey]), nil
}

// Answer is what the proxy answered.
type Answer struct {
	Code int
	Body string
	Host string // common name of the certificate shown
}

// Get asks for a page the way a browser does: by host name, over TLS that is
// verified against the platform's authority, at the address the proxy has.
func (p *Platform) Get(ctx context.Context, page, proxy, user, password string) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return Answer{}, err
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := p.browser(proxy).Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("get %s: %w", page, err)
	}
	return answerOf(response)
}

func answerOf(response *http.Response) (Answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return Answer{response.StatusCode, string(body), response.TLS.PeerCertificates[0].Subject.CommonName}, err
}

func (p *Platform) browser(proxy string) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, proxy)
		},
	}}
}

// ProxyOnNode is the address of the proxy as the host reaches it.
func (p *Platform) ProxyOnNode() string {
	return net.JoinHostPort(p.Cluster.NodeIP().String(), fmt.Sprint(NodePort))
}

// HostOf is the host name in a URL.
func HostOf(page string) string {
	u, err := url.Parse(page)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
