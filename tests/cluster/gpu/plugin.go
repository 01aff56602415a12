package gpu

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// socketName lies beside the kubelet's own socket, where the kubelet looks.
const socketName = "vdi-gpu.sock"

// plugin serves one fixed list of devices; a new configuration needs a new one.
type plugin struct {
	pluginapi.UnimplementedDevicePluginServer
	sharing Sharing
	cards   int
}

func (p *plugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{}, nil
}

// ListAndWatch tells the devices once: made-up cards do not break.
func (p *plugin) ListAndWatch(_ *pluginapi.Empty, stream grpc.ServerStreamingServer[pluginapi.ListAndWatchResponse]) error {
	response := &pluginapi.ListAndWatchResponse{}
	for _, id := range p.sharing.sliceIDs(p.cards) {
		response.Devices = append(response.Devices, &pluginapi.Device{ID: id, Health: pluginapi.Healthy})
	}
	if err := stream.Send(response); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate names the cards in the container's environment, as the real plugin does.
func (p *plugin) Allocate(_ context.Context, request *pluginapi.AllocateRequest) (*pluginapi.AllocateResponse, error) {
	response := &pluginapi.AllocateResponse{}
	for _, container := range request.GetContainerRequests() {
		if err := p.sharing.check(len(container.GetDevicesIds())); err != nil {
			return nil, err
		}
		response.ContainerResponses = append(response.ContainerResponses, &pluginapi.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(cardsOf(container.GetDevicesIds()), ",")},
		})
	}
	return response, nil
}

// cardsOf drops the slice from each device and every card but its first mention.
func cardsOf(devices []string) []string {
	var cards []string
	seen := map[string]bool{}
	for _, device := range devices {
		card, _, _ := strings.Cut(device, "::")
		if !seen[card] {
			cards = append(cards, card)
		}
		seen[card] = true
	}
	return cards
}

// serve listens beside the kubelet's socket and registers there.
func (p *plugin) serve(ctx context.Context) (stop func(), err error) {
	socket := pluginapi.DevicePluginPath + socketName
	if err := os.RemoveAll(socket); err != nil {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	pluginapi.RegisterDevicePluginServer(server, p)
	go func() { _ = server.Serve(listener) }() // ends with Stop; registering notices when it does not serve
	if err := p.register(ctx); err != nil {
		server.Stop()
		return nil, err
	}
	return server.Stop, nil
}

func (p *plugin) register(ctx context.Context) error {
	conn, err := grpc.NewClient("unix://"+pluginapi.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("reach kubelet: %w", err)
	}
	defer conn.Close()
	_, err = pluginapi.NewRegistrationClient(conn).Register(ctx, &pluginapi.RegisterRequest{
		Version:      pluginapi.Version,
		Endpoint:     socketName,
		ResourceName: p.sharing.ResourceName(),
	})
	if err != nil {
		return fmt.Errorf("register with kubelet: %w", err)
	}
	return nil
}
