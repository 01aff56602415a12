package sim

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/operator/template"
)

// workers of a controller: sessions are looked at at the same time.
const workers = 2

// operator is one process of ours. What it remembers is lost with it.
type operator struct {
	ctrl.Manager // what is not below, nobody asks a manager for

	name   string
	world  *world
	caches *caches
	client *operatorClient
	live   liveReader
	counts *session.Metrics
	queues map[string]*queue // by controller
	names  []string          // of the controllers, in order
	end    context.CancelFunc
	ended  chan struct{}

	mutex  sync.Mutex
	parked []*parked
	dead   bool
	// paused operators do nothing: their node has frozen them.
	paused bool
	// ahead is how far its clock is from the API server's.
	ahead time.Duration
}

// parked is a call that waits to be let go on.
type parked struct {
	call
	answer chan verdict
}

// startOperator starts a process, which lists first.
func (w *world) startOperator(since func() int) *operator {
	w.operators++
	o := &operator{name: fmt.Sprintf("operator-%d", w.operators), world: w, queues: map[string]*queue{}, ended: make(chan struct{})}
	mapper := newMapper(w.server)
	o.caches = &caches{
		server: w.server, informers: map[string]*informer{}, indexes: map[string]client.IndexerFunc{},
		options: run.CacheOptions(""), since: since,
	}
	o.client = &operatorClient{Reader: o.caches, server: w.server, gate: o.park, by: o.name, mapper: mapper}
	o.live = liveReader{w.server, o.park, func(v *version) { w.rules.look(o.name, v) }, func(what string) { w.rules.lists[o.name+what] = len(w.server.log) }}
	ctx, cancel := context.WithCancel(w.ctx)
	o.end = cancel
	var controllers []manager.Runnable
	o.Manager = &managerParts{operator: o, add: func(r manager.Runnable) { controllers = append(controllers, r) }}
	if err := o.setup(ctx); err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for _, c := range controllers {
		o.serveQueueOf(c)
		all.Go(func() {
			if err := c.Start(ctx); err != nil {
				panic(err)
			}
		})
	}
	go func() {
		all.Wait()
		close(o.ended)
	}()
	return o
}

// setup is what package run does, but for what is outside of a cluster.
func (o *operator) setup(ctx context.Context) error {
	w := o.world
	o.counts = session.NewMetrics(o.client)
	sessions := &session.Reconciler{
		Client: o.client, Live: o.live, Renderer: w.renderer, Config: w.config, Namespace: operatorNamespace, Clock: clockOf{o},
		ServerTime: o.serverTime, Probe: o.probe, Activity: agentsOf{o}, Events: w.events, Metrics: o.counts,
	}
	templates := &template.Reconciler{Client: o.client, Renderer: w.renderer, Config: w.config, Clock: clockOf{o}}
	left := &homes.Reconciler{Client: o.client, Live: o.live, Clock: clockOf{o}, ServerTime: o.serverTime, Events: w.events}
	return errors.Join(sessions.Setup(ctx, o.Manager, workers), templates.Setup(o.Manager), left.Setup(ctx, o.Manager))
}

// serveQueueOf gives a controller our queue: the one field by which controller-runtime
// lets it be chosen is not among a manager's settings.
func (o *operator) serveQueueOf(controller manager.Runnable) {
	made := func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		o.mutex.Lock()
		defer o.mutex.Unlock()
		q := newQueue(limiter)
		o.queues[name] = q
		return q
	}
	fields := reflect.ValueOf(controller).Elem()
	fields.FieldByName("NewQueue").Set(reflect.ValueOf(made))
	o.names = append(o.names, fields.FieldByName("Name").String())
}

// park lets a call wait until a step lets it go on.
func (o *operator) park(ctx context.Context, c call) verdict {
	p := &parked{call: c, answer: make(chan verdict, 1)}
	o.mutex.Lock()
	if o.dead {
		o.mutex.Unlock()
		return verdict{err: context.Canceled}
	}
	o.parked = append(o.parked, p)
	o.mutex.Unlock()
	_ = ctx // an operator that dies answers all of its calls itself
	return <-p.answer
}

// crash ends the process between two calls. Those that were under way took effect, or
// did not.
func (o *operator) crash(tookEffect func() bool) {
	o.mutex.Lock()
	o.dead = true
	under := o.parked
	o.parked = nil
	o.mutex.Unlock()
	for _, p := range under {
		p.answer <- verdict{err: context.Canceled, after: tookEffect()}
		o.world.settleDown()
	}
	o.end()
	<-o.ended
}

// serverTime is the API server's clock, which is the world's.
func (o *operator) serverTime(ctx context.Context) (time.Time, error) {
	if v := o.park(ctx, call{"get", "time"}); v.err != nil {
		return time.Time{}, v.err
	}
	return time.Now().Truncate(time.Second), nil
}

// clockOf is an operator's clock.
type clockOf struct{ *operator }

// Now implements clock.PassiveClock.
func (c clockOf) Now() time.Time { return time.Now().Add(c.ahead) }

// Since implements clock.PassiveClock.
func (c clockOf) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// --- the manager

// managerParts are the parts of a manager that controllers are made with.
type managerParts struct {
	ctrl.Manager

	*operator
	add func(manager.Runnable)
}

// Add implements manager.Manager.
func (m *managerParts) Add(r manager.Runnable) error {
	if _, daily := r.(manager.RunnableFunc); !daily { // no life lasts a day
		m.add(r)
	}
	return nil
}

// GetCache implements cluster.Cluster.
func (m *managerParts) GetCache() cache.Cache { return m.caches }

// GetClient implements cluster.Cluster.
func (m *managerParts) GetClient() client.Client { return m.client }

// GetFieldIndexer implements cluster.Cluster.
func (m *managerParts) GetFieldIndexer() client.FieldIndexer { return m.caches }

// GetScheme implements cluster.Cluster.
func (m *managerParts) GetScheme() *runtime.Scheme { return m.world.server.scheme }

// GetRESTMapper implements cluster.Cluster.
func (m *managerParts) GetRESTMapper() meta.RESTMapper { return m.client.mapper }

// GetLogger implements manager.Manager.
func (m *managerParts) GetLogger() logr.Logger { return logr.Discard() }

// GetControllerOptions implements manager.Manager.
func (m *managerParts) GetControllerOptions() config.Controller {
	many := true // operators in one process
	return config.Controller{SkipNameValidation: &many}
}

// mapper knows the kinds that are served, as discovery would.
type mapper struct {
	meta.RESTMapper

	server *server
}

func newMapper(s *server) mapper {
	known := meta.NewDefaultRESTMapper(nil)
	for kind := range s.scheme.AllKnownTypes() {
		if clusterWide[kind.Kind] {
			known.Add(kind, meta.RESTScopeRoot)
		} else if !strings.HasSuffix(kind.Kind, "List") {
			known.Add(kind, meta.RESTScopeNamespace)
		}
	}
	return mapper{known, s}
}

var clusterWide = map[string]bool{"VDITemplate": true, "CustomResourceDefinition": true, "Node": true}

// RESTMapping implements meta.RESTMapper.
func (m mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if !m.server.serves(kind.WithVersion("")) {
		return nil, &meta.NoKindMatchError{GroupKind: kind, SearchedVersions: versions}
	}
	return m.RESTMapper.RESTMapping(kind, versions...)
}

// routeCRD is the definition of the proxy's routes.
const routeCRD = session.RouteCRD

func newDefinition() *metav1.PartialObjectMetadata {
	d := &metav1.PartialObjectMetadata{}
	d.SetGroupVersionKind(crds)
	return d
}

var errOverloaded = apierrors.NewTooManyRequests("the server has received too many requests", 1)
