package gpunodes

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Shortage is a resource of which no node has as much as is asked for.
type Shortage struct {
	Resource    corev1.ResourceName
	Asked, Most resource.Quantity
}

// Lacking lists, by name, what no node of the cluster has enough of for the given
// requests. Nil nodes: nothing is known, and nothing is lacking.
func Lacking(ctx context.Context, nodes Reader, asked corev1.ResourceList) (short []Shortage, err error) {
	if nodes == nil {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		wish := asked[name]
		most, known, err := nodes.Most(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case known && most.Cmp(wish) < 0:
			short = append(short, Shortage{Resource: name, Asked: wish.DeepCopy(), Most: most})
		}
	}
	return short, nil
}
