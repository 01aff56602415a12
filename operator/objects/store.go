// Package objects creates, adopts, labels, puts back and removes objects of the API
// server, and says how a live object differs from the rendered one.
//
// It knows nothing of sessions: whose an object is, and what to say about a refusal, is
// for its callers to decide. It changes exactly the object that was looked at: each
// write carries a UID or a resource version, or is a create.
package objects

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Store writes objects.
type Store struct {
	// Client writes to the API server.
	Client client.Client
	// Live reads from the API server itself.
	Live client.Reader
	// Owner is the name in managed fields.
	Owner client.FieldOwner
}

// Metadata is what is read of an object of which only its metadata counts.
func Metadata(kind schema.GroupVersionKind, name string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.SetGroupVersionKind(kind)
	return m
}

// Create makes an object and returns it as it was made. The error of an object that is
// there already is the API server's, AlreadyExists.
func (s Store) Create(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made := o.DeepCopy()
	if err := s.Client.Create(ctx, made, s.Owner); err != nil {
		return nil, err
	}
	logf.FromContext(ctx).Info("created", "kind", o.GetKind(), "name", o.GetName())
	return made, nil
}

// Read is an object of a kind and name as the API server has it.
func (s Store) Read(ctx context.Context, like *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(like.GroupVersionKind())
	if err := s.Live.Get(ctx, client.ObjectKeyFromObject(like), live); err != nil {
		return nil, fmt.Errorf("read existing %s: %w", like.GetKind(), err)
	}
	return live, nil
}

// ReadMetadata fills in an object from the API server itself, where caches may be late or
// do not watch it. What is of a kind that nobody serves is not there.
func (s Store) ReadMetadata(ctx context.Context, namespace string, o *metav1.PartialObjectMetadata) (there bool, err error) {
	err = s.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: o.Name}, o)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("make sure of %s %q: %w", o.Kind, o.Name, err)
	default:
		return true, nil
	}
}

// Remove deletes exactly the object that was seen. One that is gone is no error.
func (s Store) Remove(ctx context.Context, o client.Object) error {
	kind := s.kindOf(o)
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := s.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", kind, o.GetName(), err)
	}
	logf.FromContext(ctx).Info("deleted", "kind", kind, "name", o.GetName())
	return nil
}

// Adopt makes the owner the controller of exactly the object that was looked at.
func (s Store) Adopt(ctx context.Context, owner metav1.OwnerReference, o client.Object) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": o.GetUID(), "resourceVersion": o.GetResourceVersion(), "ownerReferences": []metav1.OwnerReference{owner},
	}})
	if err == nil {
		err = s.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), s.Owner)
	}
	if err != nil {
		return fmt.Errorf("adopt orphaned %s %q: %w", s.kindOf(o), o.GetName(), err)
	}
	return nil
}

// Label writes one label to this very object, and to what the caller knows of it.
// Nothing else of it changes.
func (s Store) Label(ctx context.Context, o *unstructured.Unstructured, key, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"labels":{%q:%q}}}`, o.GetUID(), key, value)
	labelled := Metadata(o.GroupVersionKind(), o.GetName())
	labelled.Namespace = o.GetNamespace()
	if err := s.Client.Patch(ctx, labelled, client.RawPatch(types.MergePatchType, patch), s.Owner); err != nil {
		return err
	}
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	o.SetLabels(labels) // GetLabels is a copy
	o.SetResourceVersion(labelled.ResourceVersion)
	logf.FromContext(ctx).Info("labelled", "label", key, "kind", o.GetKind(), "name", o.GetName())
	return nil
}

// kindOf names an object's kind in words; typed objects do not carry theirs.
func (s Store) kindOf(o client.Object) string {
	kind, err := apiutil.GVKForObject(o, s.Client.Scheme())
	if err != nil {
		return "object"
	}
	return kind.Kind
}
