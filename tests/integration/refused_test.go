package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
)

// refusal is a change by somebody after which the session could not start again.
type refusal struct {
	impose, lift func(*world)
	reason       string // of UpdatePending, or of HomeReady where it is only the home's size
	starts       bool   // a start is possible all the same
}

// refusals are what bounds, sizes, templates, settings and the cluster can refuse.
func refusals() map[string]refusal {
	template := func(edit func(*vdi.VDITemplate)) func(*world) {
		return func(w *world) { w.changeTemplate(edit) }
	}
	spec := func(edit func(*vdi.VDISession)) func(*world) { return func(w *world) { w.change(edit) } }
	settings := func(edit func(*platform.Config)) func(*world) {
		return func(w *world) {
			edit(&w.config)
			w.restart()
		}
	}
	return map[string]refusal{
		"a lower maximum of the template": {
			impose: template(func(t *vdi.VDITemplate) { t.Spec.Resources.Max.Memory = "1Gi" }),
			lift:   template(func(t *vdi.VDITemplate) { t.Spec.Resources.Max.Memory = "" }),
			reason: vdi.ReasonInvalidResources,
		},
		"a higher minimum of the template": {
			impose: template(func(t *vdi.VDITemplate) { t.Spec.Resources.Min.CPU = "16" }),
			lift:   template(func(t *vdi.VDITemplate) { t.Spec.Resources.Min.CPU = "" }),
			reason: vdi.ReasonInvalidResources,
		},
		"more GPUs than can be shared": {
			impose: func(w *world) {
				settings(func(c *platform.Config) {
					c.Sessions.GPUSharing = platform.GPUSharing{Sliced: []string{"nvidia.com/gpu"}}
				})(w)
				spec(func(s *vdi.VDISession) { s.Spec.Resources.GPU = ptr.To[int32](2) })(w)
			},
			lift:   spec(func(s *vdi.VDISession) { s.Spec.Resources.GPU = ptr.To[int32](1) }),
			reason: vdi.ReasonGPUCountNotSliceable,
		},
		"values that the chart refuses": {
			impose: template(func(t *vdi.VDITemplate) { t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod":{"shmSize":7}}`)} }),
			lift:   template(func(t *vdi.VDITemplate) { t.Spec.Values = nil }),
			reason: vdi.ReasonInvalidValues,
		},
		"an overlay that the guard refuses": {
			impose: settings(func(c *platform.Config) {
				c.Sessions.Overlay = []platform.Overlay{{Kind: "Pod", Merge: &runtime.RawExtension{Raw: []byte(`{"spec":{"hostNetwork":true}}`)}}}
			}),
			lift:   settings(func(c *platform.Config) { c.Sessions.Overlay = nil }),
			reason: vdi.ReasonRefusedByGuard,
		},
		"a Secret that the settings do not allow": {
			impose: template(func(t *vdi.VDITemplate) {
				t.Spec.Env = []vdi.EnvVar{{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "tls"}, Key: "tls.key"}}}}
			}),
			lift:   settings(func(c *platform.Config) { c.Sessions.Allowed.Secrets = []string{"tls"} }),
			reason: vdi.ReasonRefusedByGuard,
		},
		"a relay that nobody runs": {
			impose: template(overWebRTC),
			lift:   template(func(t *vdi.VDITemplate) { t.Spec.Transport = vdi.TransportWebSocket }),
			reason: vdi.ReasonRelayNotConfigured,
		},
		"a template for others": {
			impose: template(func(t *vdi.VDITemplate) { t.Spec.Access.Groups = []string{"artists"} }),
			lift:   template(func(t *vdi.VDITemplate) { t.Spec.Access.Users = []string{alice} }),
			reason: vdi.ReasonTemplateNotAllowed,
		},
		"no template": {
			impose: (*world).deleteTemplate, lift: func(w *world) { w.createTemplate(impatient) },
			reason: vdi.ReasonTemplateNotFound,
		},
		"a home that may not grow": {
			impose: spec(func(s *vdi.VDISession) { s.Spec.Persistence.Size = "500Gi" }), // its volume is not bound
			lift:   spec(func(s *vdi.VDISession) { s.Spec.Persistence.Size = "10Gi" }),
			reason: vdi.ReasonHomeGrowthRefused, starts: true,
		},
		"a home that lost its mark": {
			impose: func(w *world) { w.labelHome("app.kubernetes.io/managed-by", "helm") },
			lift:   func(w *world) { w.labelHome("app.kubernetes.io/managed-by", "vdi-operator") },
			reason: vdi.ReasonHomeNotOurs,
		},
		"a Service that is denied": {
			impose: func(w *world) {
				w.deny("services", "not today")
				w.t.Cleanup(w.allow)
				w.eventually(func() bool { return !w.admits(w.trialService()) }, "the policy is in force")
				require.NoError(w.t, w.client.Delete(w.ctx, &corev1.Service{ObjectMeta: metaNamed(w.ns, desk)}))
			},
			lift: func(w *world) {
				w.allow()
				w.eventually(func() bool { return w.admits(w.trialService()) }, "the policy is no longer in force")
			},
			reason: vdi.ReasonDenied,
		},
	}
}

// impatient ends what does not work or is forgotten within hours.
func impatient(t *vdi.VDITemplate) {
	t.Spec.Lifecycle = vdi.TemplateLifecycle{
		Timeout: "8h", MaxExtension: "72h", MaxStarting: "1h", MaxFailed: "1h", TimeoutAction: vdi.TimeoutSuspend,
	}
}

func (w *world) labelHome(key, value string) {
	w.t.Helper()
	claim := w.home()
	claim.Labels[key] = value
	require.NoError(w.t, w.overwrite(claim))
}

func (w *world) allow() {
	w.t.Helper()
	for _, o := range []client.Object{
		&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: w.ns}},
		&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: w.ns}},
	} {
		require.NoError(w.t, client.IgnoreNotFound(w.client.Delete(context.Background(), o))) // also after the test
	}
}

func (w *world) trialService() client.Object {
	return &corev1.Service{ObjectMeta: metaNamed(w.ns, "trial"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
}

// refusedWorld has a running desktop to which the next start is refused.
func refusedWorld(t *testing.T, r refusal, changes ...func(*vdi.VDISession)) (*world, *vdi.VDISession) {
	t.Helper()
	w := newWorld(t)
	w.createTemplate(impatient)
	w.createSession(append(changes, func(s *vdi.VDISession) {
		s.Spec.Resources = vdi.SessionResources{GPU: ptr.To[int32](1), Memory: "4Gi", CPU: "2"}
	})...)
	w.start()
	w.pass()
	before := w.session()
	r.impose(w)
	w.pass()
	return w, before
}

// requireReported: the refusal is reported, and changes nothing else.
func (w *world) requireReported(r refusal) {
	w.t.Helper()
	if r.starts {
		w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionTrue, r.reason)
		return
	}
	w.t.Log(w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, r.reason).Message)
}

// stopped plays the kubelet after a stop and requires that the session rests,
// however long.
func (w *world) stopped(r refusal, because vdi.StopReason) {
	w.t.Helper()
	require.NotNil(w.t, w.pod().DeletionTimestamp, "the desktop stops")
	require.False(w.t, w.routeExists(), "the URL dies at once")
	w.podEnds(desk)
	w.pass()
	s := w.requirePhase(vdi.PhaseSuspended)
	require.Equal(w.t, because, s.Status.StopReason)
	require.Nil(w.t, s.Status.ExpiresAt)
	w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonSuspended)
	w.requireReported(r)
	w.later(1000 * time.Hour)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	require.True(w.t, w.homeExists())
}

// resumes: it starts where it can, else says why not, and heals.
func (w *world) resumes(r refusal) {
	w.t.Helper()
	w.change(resume)
	if !r.starts {
		w.pass()
		require.False(w.t, w.podExists())
		s := w.session()
		require.Contains(w.t, []vdi.Phase{vdi.PhaseFailed, vdi.PhasePending}, s.Status.Phase)
		w.requireCondition(vdi.ConditionReady, metav1.ConditionFalse, r.reason)
		r.lift(w)
	}
	w.start()
}

// TestWhatIsRefusedDisturbsNoDesktopAndNoEnd takes each refusal through each act:
// what cannot be taken over while a desktop lives is reported and changes neither
// phase nor clocks nor accounting, and an end always ends.
func TestWhatIsRefusedDisturbsNoDesktopAndNoEnd(t *testing.T) {
	t.Parallel()
	for name, r := range refusals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("goes on", func(t *testing.T) {
				t.Parallel()
				w, before := refusedWorld(t, r)
				pod := w.pod().UID
				for range 3 {
					s := w.requirePhase(vdi.PhaseRunning)
					require.Equal(t, before.Status.StartTime, s.Status.StartTime)
					require.Equal(t, before.Status.ExpiresAt, s.Status.ExpiresAt)
					require.Equal(t, before.Status.PhaseSince, s.Status.PhaseSince)
					require.Equal(t, before.Status.Resources, s.Status.Resources)
					require.Equal(t, before.Status.GPU, s.Status.GPU)
					require.Equal(t, before.Status.URL, s.Status.URL)
					require.Equal(t, before.Status.Home, s.Status.Home)
					require.Equal(t, pod, w.pod().UID)
					require.Nil(t, s.DeletionTimestamp)
					w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonAsExpected)
					w.requireCondition(vdi.ConditionStalled, metav1.ConditionFalse, vdi.ReasonAsExpected)
					w.requireReported(r)
					w.later(2 * time.Hour) // longer than anything may fail or start
					w.pass()
				}
				version := w.session().ResourceVersion
				w.pass()
				require.Equal(t, version, w.session().ResourceVersion, "the same problem gives the same words")
				r.lift(w)
				w.pass()
				w.requirePhase(vdi.PhaseRunning)
				require.Equal(t, pod, w.pod().UID)
			})
			t.Run("suspended by its user, and resumed", func(t *testing.T) {
				t.Parallel()
				w, _ := refusedWorld(t, r)
				w.change(suspend)
				w.pass()
				w.stopped(r, vdi.StopUser)
				w.resumes(r)
			})
			t.Run("suspended by its timeout", func(t *testing.T) {
				t.Parallel()
				w, _ := refusedWorld(t, r)
				w.comesToItsEnd()
				w.pass()
				w.stopped(r, vdi.StopExpired)
				w.resumes(r)
			})
			t.Run("deleted by its timeout", func(t *testing.T) {
				t.Parallel()
				w, before := refusedWorld(t, r, deleteHome, func(s *vdi.VDISession) { s.Spec.TimeoutAction = vdi.TimeoutDelete })
				w.announced()
				w.setClock(before.Status.ExpiresAt.Time.Add(-time.Second))
				w.pass()
				require.Nil(t, w.session().DeletionTimestamp, "no end comes early")
				w.setClock(before.Status.ExpiresAt.Time)
				w.pass()
				w.leave()
				require.True(t, w.homeExists(), "the clock deletes no home")
			})
			t.Run("suspended for idleness", func(t *testing.T) {
				t.Parallel()
				w, _ := refusedWorld(t, r, idleAfterAnHour)
				goIdle(w)
				w.pass()
				w.stopped(r, vdi.StopIdle)
			})
			t.Run("deleted by its user", func(t *testing.T) {
				t.Parallel()
				w, _ := refusedWorld(t, r, deleteHome)
				w.deleteSession()
				w.leave()
				require.Equal(t, r.reason == vdi.ReasonHomeNotOurs, w.homeExists(), "the home goes if it is ours")
			})
		})
	}
}

// TestAMissingTemplateMovesNoEnd: what the clock ends while the template is
// missing it would have ended with it, and in the same way.
func TestAMissingTemplateMovesNoEnd(t *testing.T) {
	t.Parallel()
	t.Run("an extended run goes on to its end", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(impatient)
		w.createSession()
		w.start()
		end := w.session().Status.StartTime.Add(60 * time.Hour)
		w.change(func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = &metav1.Time{Time: end} })
		w.later(40 * time.Hour) // beyond timeout and built-in extension
		w.pass()
		w.deleteTemplate()
		w.pass()
		s := w.requirePhase(vdi.PhaseRunning)
		require.True(t, end.Truncate(time.Second).Equal(s.Status.ExpiresAt.Time))
		w.createTemplate(impatient)
		w.pass()
		require.Nil(t, w.requirePhase(vdi.PhaseRunning).DeletionTimestamp)
		w.deleteTemplate()
		w.comesToItsEnd()
		w.pass()
		require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy, "the template's action, not the built-in one")
	})
	t.Run("without a record the clock ends nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(func(s *vdi.VDISession) { s.Spec.Timeout = "1h" })
		w.deleteTemplate()
		s := w.session()
		before := s.DeepCopy()
		s.Status.Lifecycle = nil // as an operator of an older version leaves it
		require.NoError(t, w.client.Status().Patch(w.ctx, s, client.MergeFrom(before)))
		w.later(100 * time.Hour)
		w.pass()
		s = w.requirePhase(vdi.PhaseRunning)
		require.Nil(t, s.DeletionTimestamp)
		require.Nil(t, s.Status.ExpiresAt)
		w.change(suspend)
		w.pass()
		w.podEnds(desk)
		w.pass()
		w.requirePhase(vdi.PhaseSuspended)
	})
	t.Run("nor is a desktop that ended meanwhile", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(impatient)
		w.createSession()
		w.start()
		w.deleteTemplate()
		w.podStatus(func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" })
		w.pass()
		w.later(time.Minute)
		w.pass()
		require.False(t, w.podExists(), "it holds nothing any more")
		w.pass()
		for range 3 { // each longer than anything may fail; the run itself may last for eight hours
			w.later(2 * time.Hour)
			w.pass()
			s := w.requirePhase(vdi.PhaseFailed)
			require.Nil(t, s.Status.Downtime.Since)
			require.Nil(t, s.DeletionTimestamp)
		}
		w.createTemplate(impatient)
		w.start()
	})
	t.Run("to wait for a template is no failure that ages", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(impatient)
		w.createSession()
		w.start()
		w.suspendNamed(desk)
		w.deleteTemplate()
		w.change(resume)
		w.pass()
		w.later(1000 * time.Hour)
		w.pass()
		require.Nil(t, w.requirePhase(vdi.PhaseFailed).DeletionTimestamp)
		w.createTemplate(impatient, func(t *vdi.VDITemplate) { t.Spec.Resources.Max.CPU = "1" })
		w.change(func(s *vdi.VDISession) { s.Spec.Resources.CPU = "2" })
		w.pass()
		s := w.requirePhase(vdi.PhaseFailed)
		require.Nil(t, s.DeletionTimestamp, "nor when the template is back")
		require.Nil(t, s.Status.ExpiresAt, "what is refused holds nothing and does not age")
		w.changeTemplate(func(t *vdi.VDITemplate) { t.Spec.Resources.Max.CPU = "" })
		w.start()
	})
}

// TestTheStatusShowsWhatRuns: sizes and accounting are those of the pod, whatever
// was wished meanwhile.
func TestTheStatusShowsWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running(func(s *vdi.VDISession) { s.Spec.Resources.Memory = "2048Mi" })
	before := w.session()
	require.Equal(t, int32(1), before.Status.GPU.Count)
	require.Equal(t, "2Gi", before.Status.Resources.Memory)
	registry := prometheus.NewRegistry()
	w.operator.Metrics = session.NewMetrics(w.client)
	require.NoError(t, registry.Register(w.operator.Metrics))
	w.change(func(s *vdi.VDISession) { s.Spec.Resources.GPU, s.Spec.Resources.Memory = ptr.To[int32](0), "4Gi" })
	w.pass()
	s := w.session()
	require.Equal(t, before.Status.GPU, s.Status.GPU)
	require.Equal(t, before.Status.Resources, s.Status.Resources)
	w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision)
	w.later(time.Hour)
	w.change(suspend)
	w.pass()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "vdi_session_gpu_slice_seconds_total" {
			require.InDelta(t, 3600, family.GetMetric()[0].GetCounter().GetValue(), 60)
			return
		}
	}
	require.Fail(t, "no GPU-seconds were counted")
}

// TestAStopDoesNotDependOnItsRoute: a cluster that refuses to delete the route
// keeps neither the desktop alive nor the session.
func TestAStopDoesNotDependOnItsRoute(t *testing.T) {
	t.Parallel()
	end := func(t *testing.T, begin func(*world)) *world {
		w := newWorld(t)
		w.running()
		w.operator.Client = noDeletesOf(sharedPlane(t).admin, "IngressRoute")
		begin(w)
		w.pass()
		require.NotNil(t, w.pod().DeletionTimestamp)
		w.podEnds(desk)
		w.pass()
		return w
	}
	t.Run("suspended", func(t *testing.T) {
		t.Parallel()
		w := end(t, func(w *world) { w.change(suspend) })
		w.requirePhase(vdi.PhaseSuspended)
		require.Contains(t, w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonDenied).Message, "The cluster refused the IngressRoute")
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		w := end(t, (*world).deleteSession)
		require.False(t, w.sessionExists())
		require.True(t, w.homeExists())
	})
}

// noDeletesOf is a client to which the deletion of a kind is refused.
func noDeletesOf(c client.WithWatch, kind string) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if o.GetObjectKind().GroupVersionKind().Kind == kind {
				return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, o.GetName(), errors.New("not today"))
			}
			return c.Delete(ctx, o, opts...)
		},
	})
}
