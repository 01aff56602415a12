package wire

// Labels that Kubernetes recommends
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
const (
	// LabelManagedBy is [Operator] on everything that the operator makes.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelCreatedBy is the program that has made a Secret once.
	LabelCreatedBy = "app.kubernetes.io/created-by"
	// LabelName is [NameSession] on the objects of sessions.
	LabelName = "app.kubernetes.io/name"
	// LabelInstance is the session's name on its objects.
	LabelInstance = "app.kubernetes.io/instance"
)

// NameSession is the LabelName of a session's objects.
const NameSession = "vdi-session"

// ReservedPrefixes begin keys of labels and annotations that the platform alone sets.
func ReservedPrefixes() []string { return []string{"vdi.kasm.io/", "app.kubernetes.io/"} }

// Labels, annotations and the finalizer of the platform's own.
const (
	// Finalizer makes the end of a session orderly.
	Finalizer = "vdi.kasm.io/session-cleanup"
	// LabelProxy is on the routes and middlewares that the platform's own proxy reads: it
	// takes no others into account (its labelSelector). Never on pods.
	LabelProxy = "vdi.kasm.io/proxy"
	// LabelOn is the value of labels and annotations that an object has or has not.
	LabelOn = "true"
	// LabelUser holds the identity of a session's user.
	LabelUser = "vdi.kasm.io/user"
	// LabelTemplate holds the template's name, or a hash of it where it is too long for a label.
	LabelTemplate = "vdi.kasm.io/template"
	// LabelHomeFor is put on a claim by an administrator: the identity that may use it as a home.
	LabelHomeFor = "vdi.kasm.io/home-for"
	// LabelForDesktops is put on a claim by an administrator ("true"): templates may mount it
	// in every desktop of its namespace.
	LabelForDesktops = "vdi.kasm.io/for-desktops"
	// AnnotationVersion is, on this group's CRDs, the release that they came with.
	AnnotationVersion = "vdi.kasm.io/version"
	// AnnotationSettings is, on the ConfigMap of the platform's settings, the version of what
	// they mean. Without it, sessions.network.deniedRanges replaced the floor.
	AnnotationSettings = "vdi.kasm.io/settings-version"
	// AnnotationUser holds spec.user as written, on the pod only.
	AnnotationUser = LabelUser
	// AnnotationTransport holds, on the pod, the transport its desktop was started with.
	AnnotationTransport = "vdi.kasm.io/transport"
	// AnnotationRevision holds the hash of an object as it was rendered.
	AnnotationRevision = "vdi.kasm.io/revision"
	// AnnotationSessionRevision holds, on the pod, the revision of all objects of
	// the session at the time the pod was rendered.
	AnnotationSessionRevision = "vdi.kasm.io/session-revision"
	// AnnotationKeysVersion says, on a session's Secret, which keys it has. Operators
	// of earlier releases read it.
	AnnotationKeysVersion = "vdi.kasm.io/keys-version"
	// AnnotationPasswordVerifier holds, on a session's pod and Secret, the SHA-256 of
	// its password in base64, for status.access.
	AnnotationPasswordVerifier = "vdi.kasm.io/password-verifier"
	// AnnotationPool names, on a pod that asks for GPUs, those who can take its room, as
	// the pod was asked for: the API server may add to it.
	AnnotationPool = "vdi.kasm.io/pool"
	// AnnotationRequestedBy says, on a session, for whom the front door acted last. Nobody else
	// may write it.
	AnnotationRequestedBy = "vdi.kasm.io/requested-by"
	// AnnotationDrain holds, on a session, that and when its desktop has to be off a node:
	// JSON as package drain reads it. Administrators write it (kubectl vdi drain).
	AnnotationDrain = "vdi.kasm.io/drain"
	// AnnotationGivenBack marks a Secret that was orphaned and that the operator gives
	// back to its session, so that it goes with it.
	AnnotationGivenBack = "vdi.kasm.io/given-back"
	// AnnotationLastActivity may be written on a session by whoever knows when
	// the desktop was last used: a time as in RFC 3339.
	AnnotationLastActivity = "vdi.kasm.io/last-activity"
	// LabelRetained is "true" on a home that its session has left behind:
	// kubectl get pvc -l vdi.kasm.io/retained
	LabelRetained = "vdi.kasm.io/retained"
	// AnnotationRetainedSince holds, on a retained home, when its session left
	// it, by the API server's clock: a time as in RFC 3339.
	AnnotationRetainedSince = "vdi.kasm.io/retained-since"
	// AnnotationRetainFor holds, on a retained home, how long it is kept from
	// then on: a duration. Without it the home is kept for ever; an administrator
	// may change or remove it.
	AnnotationRetainFor = "vdi.kasm.io/retain-for"
	// AnnotationRetainedUID holds, on a retained home, the claim's own UID: a
	// copy that a backup brings back is another claim, and its time never ends.
	AnnotationRetainedUID = "vdi.kasm.io/retained-uid"
	// AnnotationDisplayName holds, on a retained home, what people called the desktop that
	// left it.
	AnnotationDisplayName = "vdi.kasm.io/display-name"
	// AnnotationDeletionWarned holds, on a retained home, when its deletion was
	// announced: a time as in RFC 3339.
	AnnotationDeletionWarned = "vdi.kasm.io/deletion-warned"
	// AnnotationSessionUID holds, on a home, the UID of the session that made it.
	AnnotationSessionUID = "vdi.kasm.io/session-uid"
	// AnnotationHolder holds, on a claim, which run of which session may write to
	// it: the session's UID, "/" and a number. Every start writes it, bound to the
	// claim's resource version; a claim without it is free.
	AnnotationHolder = "vdi.kasm.io/holder"
	// LabelDefaultTemplate marks templates that came from the chart's values, so that an
	// administrator finds those that the values no longer hold.
	LabelDefaultTemplate = "vdi.kasm.io/default-template"
	// AnnotationSharingHash, on the pod template of NVIDIA's device plugin, holds the
	// configuration it was started with: writing it is the restart and the record of it.
	AnnotationSharingHash = "vdi.kasm.io/gpu-sharing-config"
	// AnnotationSharingRendered, on the ConfigMap of GPU sharing, holds what was written, so
	// that a removed key is noticed while keys of somebody else are left alone.
	AnnotationSharingRendered = "vdi.kasm.io/gpu-sharing-rendered"
)
