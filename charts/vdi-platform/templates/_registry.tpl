{{/* One value for all images. Helm hands a chart's values to the charts below it, but cannot
compute them; it lets a chart redefine a template of the charts below it. */}}

{{/* Traefik's own, and global.imageRegistry before it. */}}
{{- define "traefik.imageRegistry" -}}
{{- $hub := .Values.hub | default dict -}}
{{- $default := ternary "registry.traefik.io" (ternary "ghcr.io" "docker.io" (not (empty $hub.token))) (not (empty $hub.hardened)) -}}
{{- (.Values.global | default dict).imageRegistry | default .Values.image.registry | default $default -}}
{{- end -}}

{{/* Keys of the GPU Operator that name images outside of global.imageRegistry. It hands most of
them to its operator, so that no template of its chart can be asked. */}}
{{- define "vdi-platform.registry.others" -}}
{{- $registry := (.Values.global | default dict).imageRegistry -}}
{{- $gpu := index .Subcharts "gpu-operator" -}}
{{- if and $registry $gpu -}}
{{- $found := list -}}
{{- range $path := include "vdi-platform.registry.keys" (dict "values" $gpu.Values "path" "gpu-operator") | fromJsonArray -}}
{{- if not (or (eq $path.registry $registry) (hasPrefix (printf "%s/" $registry) $path.registry)) -}}
{{- $found = append $found (printf "%s=%s" $path.key $path.registry) -}}
{{- end -}}
{{- end -}}
{{- $found | sortAlpha | join "\n" -}}
{{- end -}}
{{- end -}}

{{/* Every key "repository" with a value, however deep. */}}
{{- define "vdi-platform.registry.keys" -}}
{{- $in := . -}}
{{- $all := list -}}
{{- range $name, $value := .values -}}
{{- $key := printf "%s.%s" $in.path $name -}}
{{- if kindIs "map" $value -}}
{{- $all = concat $all (include "vdi-platform.registry.keys" (dict "values" $value "path" $key) | fromJsonArray) -}}
{{- else if and (eq $name "repository") $value -}}
{{- $all = append $all (dict "key" $key "registry" $value) -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}
