package sim

import (
	"encoding/json"
	"sync"

	"k8s.io/utils/lru"

	"github.com/vdi-platform/vdi-platform/renderer"
)

// remembering is the real renderer, which is asked once for each input: it is most of
// the work of a life, and the same input makes the same objects.
type remembering struct {
	*renderer.Renderer

	rendered *lru.Cache // by all of the input that counts, as JSON
}

type outcome struct {
	renderer.Rendered
	err error
}

// Render implements session.Renderer.
func (r remembering) Render(in renderer.Input) (renderer.Rendered, error) {
	s := in.Session
	input, err := json.Marshal([]any{
		s.Namespace, s.Name, s.UID, s.Spec, in.Template.Name, in.Template.Spec, in.Platform.Sessions.HostTemplate, in.Host, in.StatementKeys, in.Encoder,
	})
	if err != nil {
		return renderer.Rendered{}, err
	}
	if known, found := r.rendered.Get(string(input)); found {
		o := known.(outcome)
		return o.Rendered, o.err
	}
	rendered, err := r.Renderer.Render(in)
	r.rendered.Add(string(input), outcome{rendered, err})
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
