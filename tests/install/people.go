package install

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor/people"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	// peopleSecret is the list of people of values/local.yaml (the chart's
	// access.local.secret).
	peopleSecret = "vdi-people"
	// loginsSecret holds the passwords that the demo has made for them, so that it can be run
	// again.
	loginsSecret = "vdi-demo-logins"
	// Portal is where they log in.
	Portal = "https://portal." + Domain + ":8443"
)

// Login is a name and a password that the portal takes.
type Login struct{ Name, User, Password string }

// demoPeople are those of the demo: Alice has the desktop, and Bob does not see it.
func demoPeople() []Login {
	return []Login{{Name: "alice", User: "alice@example.com"}, {Name: "bob", User: "bob@example.com"}}
}

// People makes the people of the demo, with passwords of their own, unless that was done
// before. A list that somebody else has made is left alone, and an error.
func (p *Platform) People(ctx context.Context) ([]Login, error) {
	list, logins := secretNamed(peopleSecret), secretNamed(loginsSecret)
	known, err := p.read(ctx, list, logins)
	if err != nil {
		return nil, err
	}
	switch {
	case known[peopleSecret] && list.Labels[markKey] != markValue:
		return nil, fmt.Errorf("the Secret %s in namespace %s is not the demo's: it has no label %s. Leave it, and use another cluster; if it may go, run `kubectl delete secret %[1]s -n %[2]s` first",
			peopleSecret, Namespace, markKey)
	case known[peopleSecret] && known[loginsSecret]:
		return loginsIn(list, logins)
	}
	if err := p.forgetPeople(ctx); err != nil { // one without the other is of no use
		return nil, err
	}
	return p.makePeople(ctx)
}

func secretNamed(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: map[string]string{markKey: markValue}}}
}

// read reads Secrets, and says which are there.
func (p *Platform) read(ctx context.Context, secrets ...*corev1.Secret) (known map[string]bool, err error) {
	known = map[string]bool{}
	for _, s := range secrets {
		found := &corev1.Secret{}
		err := p.Client.Get(ctx, client.ObjectKeyFromObject(s), found)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read Secret %s: %w", s.Name, err)
		}
		*s, known[s.Name] = *found, true
	}
	return known, nil
}

// loginsIn are the demo's, as the list takes them.
func loginsIn(list, logins *corev1.Secret) ([]Login, error) {
	all, err := people.Parse(list.Data[people.File])
	if err != nil {
		return nil, fmt.Errorf("the Secret %s: %w", list.Name, err)
	}
	made := demoPeople()
	for i := range made {
		made[i].Password = string(logins.Data[made[i].Name])
		if _, right := all.Check(made[i].Name, made[i].Password); !right {
			return nil, fmt.Errorf("the passwords in Secret %s are not those of Secret %s: run `kubectl delete secret -n %s %[1]s %[2]s` and this again", logins.Name, list.Name, Namespace)
		}
	}
	return made, nil
}

func (p *Platform) makePeople(ctx context.Context) ([]Login, error) {
	made, entries := demoPeople(), bytes.NewBufferString("people:\n")
	list, logins := secretNamed(peopleSecret), secretNamed(loginsSecret)
	logins.Data = map[string][]byte{}
	for i := range made {
		made[i].Password = strings.ToLower(rand.Text()[:16]) // 80 bits
		entry, err := people.Person{Name: made[i].Name, User: made[i].User}.Entry([]byte(made[i].Password))
		if err != nil {
			return nil, err
		}
		entries.Write(entry)
		logins.Data[made[i].Name] = []byte(made[i].Password)
	}
	list.Data = map[string][]byte{people.File: entries.Bytes()}
	for _, s := range []*corev1.Secret{logins, list} {
		if err := p.Client.Create(ctx, s); err != nil {
			return nil, fmt.Errorf("create Secret %s: %w", s.Name, err)
		}
	}
	return made, nil
}

// forgetPeople removes what People makes.
func (p *Platform) forgetPeople(ctx context.Context) error {
	var failed []error
	for _, name := range []string{peopleSecret, loginsSecret} {
		failed = append(failed, client.IgnoreNotFound(p.Client.Delete(ctx, secretNamed(name))))
	}
	return errors.Join(failed...)
}

// ForgetPeople removes the demo's people, and nobody else's.
func (p *Platform) ForgetPeople(ctx context.Context) error {
	list := secretNamed(peopleSecret)
	known, err := p.read(ctx, list)
	if err != nil || known[peopleSecret] && list.Labels[markKey] != markValue {
		return err
	}
	return p.forgetPeople(ctx)
}

// readInPod is how long the kubelet may take to bring a list to the front door's pod.
const readInPod = 3 * time.Minute

// LogIn opens a page that leads to the portal, logs in there and returns what is seen then,
// as a browser without scripts does. It waits until the front door has read the list.
func (p *Platform) LogIn(ctx context.Context, page, proxy string, login Login) (a Answer, err error) {
	var last error
	err = wait.PollUntilContextTimeout(ctx, time.Second, readInPod, true, func(ctx context.Context) (bool, error) {
		a, last = p.logIn(ctx, page, proxy, login)
		return last == nil, nil
	})
	return a, errors.Join(err, last)
}

func (p *Platform) logIn(ctx context.Context, page, proxy string, login Login) (Answer, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return Answer{}, err
	}
	person := p.browser(proxy)
	person.Jar = jar
	asked, err := send(ctx, person, http.MethodGet, page, nil)
	if err != nil {
		return Answer{}, err
	}
	form := url.Values{"name": {login.Name}, wire.FieldPassword: {login.Password}, "form": {hidden(asked.Body, "form")}, "to": {hidden(asked.Body, "to")}}
	if form.Get("form") == "" {
		return Answer{}, fmt.Errorf("%s does not lead to the login: it answered %d", page, asked.Code)
	}
	answer, err := send(ctx, person, http.MethodPost, Portal+"/login", form)
	if err != nil {
		return Answer{}, err
	}
	next := refresh.FindStringSubmatch(answer.Body)
	if answer.Code != http.StatusOK || next == nil {
		return Answer{}, fmt.Errorf("%s is not let in: the portal answered %d", login.Name, answer.Code)
	}
	return send(ctx, person, http.MethodGet, Portal+next[1], nil)
}

// refresh is where a page leads by itself.
var refresh = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`)

// hidden is the value of a page's hidden field.
func hidden(page, field string) string {
	_, value, _ := strings.Cut(page, `name="`+field+`" value="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// send sends what a browser does for a page, or for a form of the portal.
func send(ctx context.Context, person *http.Client, method, address string, form url.Values) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, err
	}
	request.Header.Set("Accept", "text/html")
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", Portal)
	}
	response, err := person.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	return answerOf(response)
}
