# Commands of the VDI platform. `make help` lists them; every target can be run again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

IMG ?= docker.io/vdi-platform/vdi-operator:dev
HELM ?= bin/helm
DIST ?= dist
VERSION := $(shell awk '$$1 == "appVersion:" {print $$2}' charts/vdi-operator/Chart.yaml)
DEV := tests/tools/dev
RELEASE ?=
DIGESTS ?=
GO_IMAGE ?=
BASE_IMAGE ?=
PROGRAMS := vdi-operator vdi-agent vdi-frontdoor vdi-turn-secret vdi-postrender kubectl-vdi
IMAGE_PROGRAMS := $(filter-out vdi-postrender kubectl-vdi,$(PROGRAMS))
OURS ?= ghcr.io/vdi-platform
ARCHES ?= amd64 arm64
DESKTOPS ?= plain
DESKTOPS_FROM ?=
REGISTRY ?=
BUILT := $(DIST)/build
CHARTS := $(BUILT)/charts
RELEASE_DIR := $(DIST)/$(VERSION)
GO_FLAGS := -trimpath -buildvcs=false -ldflags "-s -w"
# A module of its own: what it is made of stays out of the operator's.
PLUGIN := operator/kubectl-vdi
PLUGIN_PLATFORMS := darwin-amd64 darwin-arm64 linux-amd64 linux-arm64 windows-amd64
PLUGIN_FLAGS := -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
ATTACKS := ^TestA[0-9][0-9]
FUZZTIME ?= 40s
WIRETIME ?= 60s
SOAKTIME ?= 3m
CASES ?= 4500
SEED ?= 0
# Without its instrumentation of bcrypt's cipher, which shares nothing between goroutines and
# which the race detector makes ten times slower: a login takes seconds.
RACE := -race -gcflags=golang.org/x/crypto/blowfish=-race=false
ROOT_PACKAGES := ./charts/... ./operator/... ./platform/... ./renderer/...
# Tests in tests/ run with -count=1: they read charts, CRDs and documents outside their module,
# and Go's cache of results looks at no file there.

# Recipes run in other folders, where a relative KUBECONFIG would lead elsewhere.
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
ifneq ($(KUBECONFIG),)
override KUBECONFIG := $(subst $(SPACE),:,$(abspath $(subst :, ,$(KUBECONFIG))))
export KUBECONFIG
endif
# What INSTALL=1 installs: a chart of this checkout is packaged first, with its dependencies.
VALIDATED_CHART = $(or $(abspath $(wildcard $(CHART))),$(CHART),$(if $(INSTALL),$(abspath $(DIST))/vdi-platform-$(VERSION).tgz))

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: ## Bring up a local cluster with the platform and show a session's URL that works
	@echo "── build the demo's own command … usually 2m in a fresh clone"
	@mkdir -p bin && cd tests && go build -v -o ../bin/vdi-demo ./cmd/vdi-demo 2>&1 | awk '/[ #:]/ {print; next} ++n % 250 == 0 {print "   " n " packages compiled"; fflush()}'
	cd tests && ../bin/vdi-demo up

.PHONY: demo-down
demo-down: ## Take the demo down without a trace
	cd tests && go run ./cmd/vdi-demo down

##@ Test

.PHONY: test
test: test-unit test-charts test-sim test-relay test-integration test-attacks test-e2e ## Run every suite but test-long: unit, charts, ten thousand simulated lives, integration on a real API server, the attack list, end to end on a real node

.PHONY: test-unit
test-unit: ## Pure functions, golden sessions, the harness's own parts
	go test $(RACE) $(ROOT_PACKAGES)
	go test -C $(PLUGIN) ./...
	go test ./operator/session ./operator/session/background # with the tests during which the race detector itself may crash
	cd tests && go run ./cmd/vdi-cluster tools cyclonedx-gomod govulncheck
	cd tests && go test -count=1 ./image/... ./progress ./release/... ./parity/... ./bench/... ./attacks/ledger ./audit ./install ./cmd/... ./validate/judge .
	cd tests && go test -count=1 -skip '^TestInstallation$$' ./validate # which is `make validate`
	cd tests && go test -count=1 -run '^TestRemovals$$' ./attacks # the attacks themselves are `make test-attacks`

.PHONY: test-charts
test-charts: tools-helm ## Charts with the real Helm clients, a release in a real registry
	cd tests && go test -count=1 ./charts/... ./registry/... ./standins/... ./postrender/...

.PHONY: test-sim
test-sim: ## The whole operator in a simulated cluster: ten thousand lives of sessions with faults (CASES, from SEED); a seed that fails is shown
	cd tests && go test -count=1 -v -timeout 60m ./sim -run '^TestLives$$' -cases $(CASES) -first $(SEED) | grep -v '^=== '
	cd tests && go test -count=1 ./sim -skip '^TestLives$$'

.PHONY: test-relay
test-relay: tools-helm tools-control-plane ## The real coturn attacked in namespaces of its own, the real Prometheus with our alerts and dashboard
	cd tests && go test -count=1 -skip '$(ATTACKS)' ./relay/... ./monitoring/... ./selkies/...

.PHONY: test-integration
test-integration: tools-control-plane tools-helm ## Controllers on a real API server, which also answers as the simulated one does; kubectl-vdi there, in the real kubectl and in a terminal
	cd tests && go test -count=1 -timeout 15m ./kubectl
	cd tests && go test -count=1 -timeout 10m ./sim/replay
	cd tests && go test -count=1 $(RACE) -parallel 4 -timeout 20m ./integration/... # they wait more than they compute

.PHONY: test-attacks
test-attacks: tools-helm tools-control-plane ## The attack list: each attack works without its guard and fails with it; prints how many are blocked
	cd tests && go run ./cmd/vdi-cluster tools kwok traefik traefik-vulnerable traefik-rules cyclonedx-gomod govulncheck
	rm -f bin/attacks.jsonl
	cd tests && VDI_ATTACKS_LEDGER=$(CURDIR)/bin/attacks.jsonl go test -p 1 -count 1 -timeout 15m -run '$(ATTACKS)' ./attacks ./relay ./frontdoor
	cd tests && go run ./cmd/vdi-attacks ../bin/attacks.jsonl

.PHONY: test-e2e
test-e2e: tools-node ## Real node, real proxy, real relay, real desktop
	cd tests && go run ./cmd/vdi-cluster tools traefik traefik-vulnerable
	cd tests && go test -count=1 -p 1 -timeout 30m -skip '$(ATTACKS)' ./webrtc/... ./frontdoor/... ./cluster/... ./e2e/... ./upgrade/... # one after another: they share bin/ and two cores

.PHONY: test-long
test-long: ## What takes longer: everything again under the race detector, 100,000 simulated lives, lives without each guard, 1,000 sessions at rest, starts beside 10,000 sessions of one tenant, fuzzing, also through the real proxy, logins at a real Keycloak, an agent kept busy, a platform broken on purpose
	go test $(RACE) -count=3 $(ROOT_PACKAGES)
	go test -C $(PLUGIN) -race -count=3 ./...
	$(MAKE) test-sim CASES=45000 SEED=$$RANDOM
	$(MAKE) test-mutants
	cd tests && go test -count=1 -v -timeout 20m ./sim/replay -seeds 200 -first $$RANDOM
	cd tests && go test ./sim -run '^$$' -fuzz '^FuzzLives$$' -fuzztime $(FUZZTIME)
	cd tests && go test -count=1 -v -timeout 60m ./scale/... -sessions 1000 -crowd 10000 -starts 60 | grep -v '^=== '
	for target in $$(go test -list '^Fuzz' $(ROOT_PACKAGES) | awk '/^Fuzz/ {f[n++]=$$1} /^ok/ {for (i=0;i<n;i++) print $$2":"f[i]; n=0}'); do \
	  go test "$${target%%:*}" -run '^$$' -fuzz "^$${target##*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x; done
	$(MAKE) tools-node && cd tests && go run ./cmd/vdi-cluster tools traefik && go test -count=1 -tags breakages -timeout 20m ./e2e -run '^TestValidateShowsWhatIsBrokenOnTheWay$$'
	cd tests && go test -count=1 -tags keycloak -timeout 15m ./frontdoor -run '^TestKeycloak$$'
	cd tests && go run ./cmd/vdi-cluster tools traefik
	cd tests && go test -count=1 ./frontdoor -run '^TestNothingOnTheWire$$' -v -wire $(WIRETIME) -timeout 30m
	go test ./operator/agent -run '^TestSoak$$' -v -soak $(SOAKTIME)
	cd tests && go test -count=1 ./image -run '^TestReproducible$$' -everything
	$(MAKE) sbom

.PHONY: test-mutants
test-mutants: ## Take the operator's guards away, one at a time, and list those that no simulated life misses (MUTANTS="--only 7 --cases 2000")
	cd tests && go run ./cmd/vdi-mutants $(MUTANTS)

.PHONY: bench
bench: ## Cost of rendering beside Helm's own path, and of deciding, status and cache
	cd tests && go test -run '^$$' -bench . -benchmem -count 3 ./bench/...
	go test -run '^$$' -bench . -benchmem -count 3 ./operator/session

.PHONY: bench-cluster
bench-cluster: tools-helm tools-control-plane ## Cost of sessions beside the floor and beside other operators, about an hour; goes on where it was (BENCH="--sessions 100 --repeats 1")
	cd tests && go build -o ../bin/vdi-bench ./cmd/vdi-bench && ../bin/vdi-bench $(BENCH)

##@ Build

.PHONY: build
build: ## The operator's binary for this machine, the post-renderer for both Helms, and kubectl-vdi
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/vdi-operator ./operator/cmd/vdi-operator
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/vdi-agent ./operator/cmd/vdi-agent
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/vdi-frontdoor ./operator/cmd/vdi-frontdoor
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/vdi-turn-secret ./operator/cmd/vdi-turn-secret
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/vdi-postrender ./operator/cmd/vdi-postrender
	install -D -t bin/helm-plugins/vdi-postrender bin/vdi-postrender
	install -D -m 644 -t bin/helm-plugins/vdi-postrender operator/cmd/vdi-postrender/plugin.yaml
	CGO_ENABLED=0 go build -C $(PLUGIN) $(PLUGIN_FLAGS) -o $(CURDIR)/bin/kubectl-vdi .
	install -t bin $(PLUGIN)/kubectl_complete-vdi

.PHONY: image
image: build ## The operator's image as an OCI archive, without a container engine
	cd tests && go run ./cmd/vdi-image binary --binary ../bin/vdi-operator --binary ../bin/vdi-agent --binary ../bin/vdi-frontdoor --binary ../bin/vdi-turn-secret --tag $(IMG)

.PHONY: check-image
check-image: ## Judge a desktop image by its contract (IMAGE=ARCHIVE, TEMPLATE=FILE), running it on a local cluster unless STATIC=yes
	@[ -n "$(IMAGE)" ] || { echo "which one? make check-image IMAGE=image.tar TEMPLATE=values/templates/webtop.yaml"; exit 1; }
	cd tests && go run ./cmd/vdi-image check $(if $(TEMPLATE),--template $(abspath $(TEMPLATE))) $(if $(STATIC),--static) $(abspath $(IMAGE))

.PHONY: sbom
sbom: image ## SBOMs (CycloneDX) of every program and image archive into dist/sbom/, compared with `go version -m`
	cd tests && go run ./cmd/vdi-cluster tools cyclonedx-gomod syft
	rm -rf $(DIST)/sbom && mkdir -p $(DIST)/sbom
	for program in $(PROGRAMS); do bin/cyclonedx-gomod bin -json -std -noserial -version v$(VERSION) -output $(DIST)/sbom/$$program.cdx.json bin/$$program; done
	for archive in bin/images/*.tar; do SYFT_CHECK_FOR_APP_UPDATE=false bin/syft scan -q oci-archive:$$archive -o cyclonedx-json=$(DIST)/sbom/image-$$(basename $$archive .tar).cdx.json; done
	cd tests && for program in $(PROGRAMS); do go run ./cmd/vdi-release parts $(abspath $(DIST))/sbom/$$program.cdx.json ../bin/$$program; done
	cd tests && go run ./cmd/vdi-release parts $(abspath $(DIST))/sbom/image-vdi-operator.cdx.json $(patsubst %,../bin/%,$(IMAGE_PROGRAMS))

.PHONY: package
package: package-own third-party ## All our charts as archives in dist/, for `helm push dist/NAME.tgz oci://…`; RELEASE=yes demands DIGESTS=FILE, a line "NAME sha256:…" for each image
	rm -rf $(BUILT)/umbrella && mkdir -p $(BUILT)/umbrella && cp -r $(CHARTS)/vdi-platform $(BUILT)/umbrella/ && rm -rf $(BUILT)/umbrella/vdi-platform/charts
	awk '/^- name:/ {n=$$3} /version:/ {print n "-" $$2 ".tgz"}' $(CHARTS)/vdi-platform/Chart.lock | while read -r archive; do \
	  install -D -m 644 -t $(BUILT)/umbrella/vdi-platform/charts $$(ls $(DIST)/$$archive $(DIST)/third-party/$$archive 2>/dev/null); done
	$(HELM) package $(BUILT)/umbrella/vdi-platform --destination $(DIST)
	$(if $(RELEASE),cd tests && go run ./cmd/vdi-release charts $$(for chart in vdi-operator coturn vdi-platform; do ls $(abspath $(DIST))/$$chart-$(VERSION).tgz; done))

.PHONY: package-own
package-own: tools-helm
	rm -rf $(CHARTS) && mkdir -p $(BUILT) && cp -r charts $(CHARTS)
	cd tests && go run ./cmd/vdi-release version $(abspath $(CHARTS)) $(VERSION)
	$(if $(DIGESTS),cd tests && go run ./cmd/vdi-release pin $(abspath $(CHARTS)) $(abspath $(DIGESTS)))
	for chart in vdi-session vdi-operator coturn; do $(HELM) package $(CHARTS)/$$chart --destination $(DIST); done

.PHONY: third-party
third-party: tools-helm
	mkdir -p $(DIST)/third-party
	@awk '/^- name:/ {n=$$3} /repository: https/ {r=$$2} /version:/ && r {print n, $$2, r; r=""}' charts/vdi-platform/Chart.lock | while read -r name version url; do \
	  [ -f $(DIST)/third-party/$$name-$$version.tgz ] || $(HELM) pull $$name --repo $$url --version $$version --destination $(DIST)/third-party || { \
	    echo "vdi-platform is not packaged: chart $$name $$version could not be fetched from $$url. Where that can be reached, run"; \
	    echo "  helm pull $$name --repo $$url --version $$version"; \
	    echo "put the archive into $(DIST)/third-party/, and run 'make package' again."; exit 1; }; done

.PHONY: docker-build
docker-build: ## The operator's image from operator/Dockerfile (IMG=…), or an OCI archive where no container engine runs; RELEASE=yes demands GO_IMAGE and BASE_IMAGE by digest
	$(if $(RELEASE),cd tests && go run ./cmd/vdi-release bases ../operator/Dockerfile $(addprefix GO_IMAGE=,$(GO_IMAGE)) $(addprefix BASE_IMAGE=,$(BASE_IMAGE)))
	@if docker info >/dev/null 2>&1; then docker build -f operator/Dockerfile $(addprefix --build-arg GO_IMAGE=,$(GO_IMAGE)) $(addprefix --build-arg BASE_IMAGE=,$(BASE_IMAGE)) -t $(IMG) .; \
	else echo "no container engine answers; writing an OCI archive instead"; $(MAKE) image IMG=$(IMG); fi

##@ Release

.PHONY: release
release: release-images release-sbom release-plugin ## All that a release holds, into dist/VERSION/, without a container engine: images for amd64 and arm64, charts, kubectl-vdi, SBOMs, a list of images, sums (VERSION=…, DESKTOPS="plain kiosk …", DIGESTS, RELEASE as for package)
	@if $(MAKE) --no-print-directory third-party; then $(MAKE) --no-print-directory package && cp $(DIST)/vdi-platform-$(VERSION).tgz $(RELEASE_DIR)/charts/; \
	elif [ -n "$(RELEASE)" ]; then exit 1; \
	else $(MAKE) --no-print-directory package-own && echo "THIS RELEASE LACKS THE CHART vdi-platform, and images.txt the images of other people's charts: see above"; fi
	cp $(foreach chart,vdi-session vdi-operator coturn,$(DIST)/$(chart)-$(VERSION).tgz) $(RELEASE_DIR)/charts/
	cd tests && go run ./cmd/vdi-release images $(abspath $(RELEASE_DIR)) $(CURDIR)
	cd $(RELEASE_DIR) && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum > SHA256SUMS
	@cd $(RELEASE_DIR) && du -ah --apparent-size . | sort -k2

# Of desktops there is this machine's architecture: Debian's packages must run to be
# installed. DESKTOPS names the recipes (tests/images); DESKTOPS_FROM=FOLDER adds the archives
# that another machine wrote to its dist/build/.
.PHONY: release-images
release-images: release-operator
	cd tests && for recipe in $(DESKTOPS); do image=desktop-$$recipe; image=$${image%-plain}; \
	  go run ./cmd/vdi-image desktop --recipe $$recipe --tag $(OURS)/$$image:$(VERSION) --out $(abspath $(BUILT))/$$image.tar; \
	  go run ./cmd/vdi-image join $(foreach folder,$(BUILT) $(DESKTOPS_FROM),--archive $(abspath $(folder))/$$image.tar) --out $(abspath $(RELEASE_DIR))/images/$$image.tar; done

.PHONY: release-operator
release-operator:
	cd tests && go run ./cmd/vdi-release semver "$(VERSION)"
	rm -rf $(RELEASE_DIR) && mkdir -p $(RELEASE_DIR)/images $(RELEASE_DIR)/charts $(RELEASE_DIR)/sbom
	for arch in $(ARCHES); do mkdir -p $(BUILT)/$$arch && CGO_ENABLED=0 GOARCH=$$arch go build $(GO_FLAGS) -o $(BUILT)/$$arch/ $(addprefix ./operator/cmd/,$(IMAGE_PROGRAMS)); done
	cd tests && for arch in $(ARCHES); do go run ./cmd/vdi-image binary $(foreach program,$(IMAGE_PROGRAMS),--binary $(abspath $(BUILT))/$$arch/$(program)) \
	  --tag $(OURS)/vdi-operator:$(VERSION) --out $(abspath $(BUILT))/vdi-operator-$$arch.tar; done
	cd tests && go run ./cmd/vdi-image join $(foreach arch,$(ARCHES),--archive $(abspath $(BUILT))/vdi-operator-$(arch).tar) --out $(abspath $(RELEASE_DIR))/images/vdi-operator.tar

.PHONY: release-plugin
release-plugin: release-operator
	cd tests && go run ./cmd/vdi-cluster tools cyclonedx-gomod
	for platform in $(PLUGIN_PLATFORMS); do program=$(abspath $(BUILT))/plugin/$$platform/kubectl-vdi; case $$platform in windows-*) program=$$program.exe;; esac; \
	  CGO_ENABLED=0 GOOS=$${platform%-*} GOARCH=$${platform#*-} go build -C $(PLUGIN) $(PLUGIN_FLAGS) -o $$program .; \
	  bin/cyclonedx-gomod bin -json -std -noserial -version v$(VERSION) -output $(RELEASE_DIR)/sbom/kubectl-vdi-$$platform.cdx.json $$program; \
	  (cd tests && go run ./cmd/vdi-release parts $(abspath $(RELEASE_DIR))/sbom/kubectl-vdi-$$platform.cdx.json $$program); done
	cd tests && go run ./cmd/vdi-release plugin $(abspath $(BUILT))/plugin $(CURDIR) $(VERSION) $(abspath $(RELEASE_DIR))/kubectl-vdi

.PHONY: release-sbom
release-sbom: release-images
	cd tests && go run ./cmd/vdi-cluster tools syft
	for archive in $(foreach arch,$(ARCHES),$(BUILT)/vdi-operator-$(arch).tar) $(foreach recipe,$(DESKTOPS),$(BUILT)/$(patsubst %-plain,%,desktop-$(recipe)).tar); do \
	  SYFT_CHECK_FOR_APP_UPDATE=false bin/syft scan -q oci-archive:$$archive -o cyclonedx-json=$(RELEASE_DIR)/sbom/image-$$(basename $$archive .tar).cdx.json; done
	for recipe in $(if $(DESKTOPS_FROM),$(DESKTOPS)); do image=desktop-$$recipe; image=$${image%-plain}; \
	  SYFT_CHECK_FOR_APP_UPDATE=false bin/syft scan -q oci-archive:$(DESKTOPS_FROM)/$$image.tar -o cyclonedx-json=$(RELEASE_DIR)/sbom/image-$$image-elsewhere.cdx.json; done
	cd tests && for arch in $(ARCHES); do go run ./cmd/vdi-release parts $(abspath $(RELEASE_DIR))/sbom/image-vdi-operator-$$arch.cdx.json $(foreach program,$(IMAGE_PROGRAMS),$(abspath $(BUILT))/$$arch/$(program)); done

.PHONY: push
push: ## Push the images and charts of dist/VERSION/ into a registry (REGISTRY=HOST[:PORT][/PATH]), with the credentials of Docker's configuration; again changes nothing
	@[ -n "$(REGISTRY)" ] || { echo "where to? make push REGISTRY=registry.example.com/vdi VERSION=$(VERSION)"; exit 1; }
	@[ -f $(RELEASE_DIR)/SHA256SUMS ] || { echo "there is no $(RELEASE_DIR): run 'make release VERSION=$(VERSION)'"; exit 1; }
	cd $(RELEASE_DIR) && sha256sum --quiet -c SHA256SUMS
	cd tests && go run ./cmd/vdi-release push $(REGISTRY) $(abspath $(RELEASE_DIR))

##@ Generate and check

.PHONY: manifests
manifests: bin/.dev-tools ## CRDs from the API types, into the operator chart
	bin/controller-gen crd:crdVersions=v1,generateEmbeddedObjectMeta=false paths=./operator/api/... output:crd:dir=charts/vdi-operator/crds

.PHONY: generate
generate: manifests ## Everything generated: deepcopy, CRDs, chart schemas and READMEs, the API's pages, kubectl-vdi's, the map of packages
	bin/controller-gen object paths=./operator/api/...
	for chart in charts/vdi-operator charts/vdi-platform charts/coturn tests/standins/traefik tests/standins/gpu-operator; do (cd $$chart && $(CURDIR)/bin/helm-values-schema-json); done
	bin/helm-docs --log-level warning --chart-search-root charts --chart-to-generate charts/vdi-operator,charts/vdi-platform,charts/coturn --sort-values-order file
	go run -C $(PLUGIN) ./reference reference.md
	cd tests && go run ./cmd/vdi-docs ..

.PHONY: golden
golden: tools-helm tools-control-plane ## Rewrite golden files; read the difference before you commit it
	go test ./renderer ./operator/session/plan ./operator/session/status ./operator/story -run Golden -update
	cd tests && go test -count=1 ./charts ./kubectl -run Golden -update

.PHONY: verify
verify: generate ## Fail if something generated is not committed
	bin/gofumpt -w operator platform renderer charts tests
	@git diff --exit-code -- . || { echo "generated files differ: run 'make generate', look at the difference and commit it"; exit 1; }

.PHONY: lint
lint: bin/.dev-tools bin/.lint-tools tools-helm ## gofumpt, go vet, staticcheck, ct lint, actionlint, and govulncheck where its database, or that as a module, can be reached
	@unformatted=$$(bin/gofumpt -l operator platform renderer charts tests); [ -z "$$unformatted" ] || { echo "run 'bin/gofumpt -w' on:" $$unformatted; exit 1; }
	go vet $(ROOT_PACKAGES)
	go vet -C $(PLUGIN) ./...
	cd tests && go vet ./... && go vet -tags breakages ./e2e
	bin/staticcheck -checks all $(ROOT_PACKAGES)
	cd $(PLUGIN) && $(CURDIR)/bin/staticcheck -checks all ./...
	cd tests && ../bin/staticcheck -checks all ./... && ../bin/staticcheck -checks all -tags breakages ./e2e
	$(HELM) lint charts/vdi-session --strict --set image=desktop --set agent.image=vdi-operator --set session.host=alice.vdi.example.com --kube-version 1.37.2
	rm -rf bin/umbrella; cd tests && go run ./cmd/vdi-umbrella --dir ../bin/umbrella
	PATH="$(CURDIR)/bin:$(CURDIR)/bin/python/bin:$$PATH" PYTHONPATH="$(CURDIR)/bin/python" bin/ct lint --config ct.yaml \
	  --charts charts/vdi-operator,charts/coturn,bin/umbrella/vdi-platform \
	  --chart-yaml-schema "$$(go list -C tests/tools/ct -m -f '{{.Dir}}' github.com/helm/chart-testing/v3)/etc/chart_schema.yaml"
	go mod verify
	cd $(PLUGIN) && go mod verify
	cd tests && go run ./cmd/vdi-cluster tools actionlint govulncheck
	bin/actionlint -shellcheck= -pyflakes=
	cd tests && go run ./cmd/vdi-release workflows ../.github/workflows/*.yaml
	cd tests && go run ./cmd/vdi-release holes $(CURDIR)/bin/govulncheck .. $(ROOT_PACKAGES)
	cd tests && go run ./cmd/vdi-release holes $(CURDIR)/bin/govulncheck ../$(PLUGIN) ./...

##@ Your cluster

.PHONY: validate
validate: ## Judge an installation: KUBECONFIG=FILE [NAMESPACE HELM_RELEASE DOMAIN TEMPLATE ADDRESS CA PROMETHEUS PULL_SECRETS_FROM QUICK=1 INSTALL=1 VALUES CHART]; starts one desktop, leaves nothing
	$(if $(INSTALL),$(if $(CHART),,@$(MAKE) --no-print-directory package))
	@export PATH="$(CURDIR)/bin:$$PATH"; command -v helm >/dev/null || (cd tests && go run ./cmd/vdi-cluster tools helm); cd tests && \
	  CHART="$(VALIDATED_CHART)" CA="$(abspath $(CA))" VALUES="$(abspath $(VALUES))" \
	  go test ./validate -run '^TestInstallation$$' -count 1 -timeout 2h -v

.PHONY: deploy
deploy: tools-helm ## Install the operator chart with image IMG=… into the current context (DOMAIN=…)
	img="$(IMG)"; $(HELM) upgrade --install vdi-operator charts/vdi-operator -n vdi-system --create-namespace \
	  --set image.repository="$${img%:*}" --set image.tag="$${img##*:}" --set sessions.domain=$(or $(DOMAIN),vdi.example.com)

.PHONY: run
run: manifests ## Run the operator from source against the current context (DOMAIN=…)
	$(if $(wildcard bin/kubectl),bin/kubectl,kubectl) apply --server-side -f charts/vdi-operator/crds
	printf 'sessions:\n  domain: %s\n  verifyRoute: false\n' "$(or $(DOMAIN),vdi.example.com)" > bin/run-config.yaml
	go run ./operator/cmd/vdi-operator --config bin/run-config.yaml --namespace default

##@ Tools (built once from pinned Go modules, kept under bin/)

.PHONY: tools
tools: bin/.dev-tools bin/.lint-tools tools-helm tools-control-plane tools-node ## All of them

bin/.dev-tools: $(DEV)/go.mod $(DEV)/go.sum
	mkdir -p bin
	go build -C $(DEV) -o $(CURDIR)/bin/ tool
	@touch $@

bin/.lint-tools: tests/tools/lint/requirements.txt
	rm -rf bin/python
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile --target bin/python --requirement $<
	@touch $@

.PHONY: tools-helm
tools-helm:
	cd tests && go run ./cmd/vdi-cluster tools helm helm4 ct

.PHONY: tools-control-plane
tools-control-plane:
	cd tests && go run ./cmd/vdi-cluster tools kube

.PHONY: tools-node
tools-node:
	cd tests && go run ./cmd/vdi-cluster tools
	cd tests && go run ./cmd/vdi-cluster tools traefik
