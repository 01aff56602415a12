package sim

import (
	"sync"

	"k8s.io/utils/lru"

	"github.com/vdi-platform/vdi-platform/renderer"
)

// remembering is the real renderer, which is asked once for each input: it is most of
// the work of a life, and the same input makes the same objects.
type remembering struct {
	*renderer.Renderer

	rendered *lru.Cache // by the input's fingerprint
}

type outcome struct {
	renderer.Rendered
	err error
}

// Render implements session.Renderer.
func (r remembering) Render(in renderer.Input) (renderer.Rendered, error) {
	fingerprint, err := in.Fingerprint()
	if err != nil {
		return r.Renderer.Render(in)
	}
	if known, found := r.rendered.Get(fingerprint); found {
		o := known.(outcome)
		return o.Rendered, o.err
	}
	rendered, err := r.Renderer.Render(in)
	r.rendered.Add(fingerprint, outcome{rendered, err})
	return rendered, err
}

// renders is shared by all worlds.
var renders = sync.OnceValue(func() remembering {
	r, err := renderer.New()
	if err != nil {
		panic(err)
	}
	return remembering{r, lru.New(2000)}
})
