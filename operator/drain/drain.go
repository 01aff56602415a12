// Package drain has the order by which a node is freed of desktops: an annotation on each
// session whose desktop runs there, which the operator takes for one more announced end.
// Nothing depends on a program that keeps running, and no write takes the order back: once
// a desktop has left the node, it is void.
package drain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// MaxMessage is the longest message, in bytes.
const MaxMessage = 256

// Order says when a desktop has to be off its node. It is written as JSON with its fields in
// this order, without blanks: admission compares it with a pattern.
type Order struct {
	// Node is the name of the node. Desktops elsewhere are not concerned.
	Node string `json:"node"`
	// At is when, in whole seconds. People are warned before (lifecycle.warnBefore of the
	// template): an order that comes later than that is carried out when the warning is over.
	// Desktops that start on the node from then on are not concerned.
	At metav1.Time `json:"at"`
	// Restart: the desktop starts again by itself, on another node and the same home. Else
	// its session is suspended.
	Restart bool `json:"restart,omitempty"`
	// Message is what the administrator has to say about it, one line.
	Message string `json:"message,omitempty"`
}

// Of is the order that a session has; nil: none.
func Of(session metav1.Object) (*Order, error) {
	words := session.GetAnnotations()[wire.AnnotationDrain]
	if words == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(words)))
	decoder.DisallowUnknownFields()
	o := &Order{}
	if err := decoder.Decode(o); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", wire.AnnotationDrain, err)
	}
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", wire.AnnotationDrain, err)
	}
	return o, nil
}

// Check says what is wrong with an order.
func (o Order) Check() error {
	switch {
	case len(validation.IsDNS1123Subdomain(o.Node)) > 0:
		return fmt.Errorf("node: %q is no name of a node", o.Node)
	case o.At.IsZero():
		return errors.New("at: name the time when the desktop has to be off the node")
	case len(o.Message) > MaxMessage:
		return fmt.Errorf("message: at most %d bytes, this has %d", MaxMessage, len(o.Message))
	case strings.ContainsFunc(o.Message, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("message: printable characters in one line only")
	}
	return nil
}

// String is the annotation's value.
func (o Order) String() string {
	o.At = metav1.NewTime(o.At.UTC().Truncate(time.Second))
	var words bytes.Buffer
	encoder := json.NewEncoder(&words)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(o); err != nil { // strings, a time and a bool can always be encoded
		panic(err)
	}
	return strings.TrimSpace(words.String())
}

// Concerns reports whether a pod has to leave by this order, now or later.
func (o *Order) Concerns(pod *corev1.Pod) bool {
	return o != nil && pod != nil && pod.Spec.NodeName == o.Node && pod.CreationTimestamp.Before(&o.At)
}

// Words say what is to come, or under way.
func (o *Order) Words() string {
	then := "it is suspended then, and starts on another one when somebody resumes it"
	if o.Restart {
		then = "it starts again on another one then, with the same home"
	}
	words := fmt.Sprintf("The node %s is being freed, and the desktop has to leave it: %s. Save what is open", o.Node, then)
	if o.Message != "" {
		words += ". An administrator says: " + strings.TrimSuffix(o.Message, ".")
	}
	return words
}
