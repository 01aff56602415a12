// traefik-rules reads a JSON list of routing rules and writes what Traefik's own
// parser makes of each: its matchers, or why it is none. It also says which of the
// hosts in its arguments a request must name to be routed by the rule, asked of
// Traefik's own muxer.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	muxer "github.com/traefik/traefik/v3/pkg/muxer/http"
	"github.com/traefik/traefik/v3/pkg/rules"
)

// parsed is one rule as Traefik reads it.
type parsed struct {
	Error    string    `json:"error,omitempty"`
	Matchers []matcher `json:"matchers"`
	Routed   []string  `json:"routed"` // hosts of the arguments
}

type matcher struct {
	Name   string   `json:"name"`
	Not    bool     `json:"not"`
	Values []string `json:"values"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "traefik-rules:", err)
		os.Exit(1)
	}
}

func run(hosts []string) error {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return err
	}
	// The names of the HTTP matchers of rule syntax v3 (pkg/muxer/http/matcher.go).
	parser, err := rules.NewParser([]string{
		"ClientIP", "Method", "Host", "HostRegexp", "Path", "PathRegexp", "PathPrefix", "Header", "HeaderRegexp", "Query", "QueryRegexp",
	})
	if err != nil {
		return err
	}
	out := make([]parsed, len(texts))
	for i, text := range texts {
		tree, err := parser.Parse(text)
		if err != nil {
			out[i].Error = err.Error()
			continue
		}
		out[i].add(tree.(rules.TreeBuilder)())
		if out[i].Routed, err = routed(text, hosts); err != nil {
			out[i].Error = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (p *parsed) add(t *rules.Tree) {
	if t == nil {
		return
	}
	if t.RuleLeft == nil && t.RuleRight == nil {
		p.Matchers = append(p.Matchers, matcher{t.Matcher, t.Not, t.Value})
	}
	p.add(t.RuleLeft)
	p.add(t.RuleRight)
}

// routed asks the muxer with a request for each host.
func routed(rule string, hosts []string) (to []string, err error) {
	syntax, err := muxer.NewSyntaxParser()
	if err != nil {
		return nil, err
	}
	m := muxer.NewMuxer(syntax)
	if err := m.AddRoute(rule, "v3", 0, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})); err != nil {
		return nil, err
	}
	for _, host := range hosts {
		answer := httptest.NewRecorder()
		// The decorator reads the host as Traefik's entry points do.
		requestdecorator.New(nil).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "https://"+host+"/", nil), m.ServeHTTP)
		if answer.Code == http.StatusOK {
			to = append(to, host)
		}
	}
	return to, nil
}
