// A gRPC client with aperture's interceptor, paying from an lnd node, asks twice and says so: one
// line of JSON. The interceptor pays once and spends the same token the second time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/lightninglabs/aperture/l402"
	"github.com/lightninglabs/lndclient"
	"github.com/lightningnetwork/lnd/lnrpc"
	"github.com/lightningnetwork/lnd/lnrpc/verrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const aperture = "github.com/lightninglabs/aperture"

func main() {
	served, err := ask()
	payments, counted := paid()
	times := fmt.Sprint(payments)
	if payments == 1 {
		times = "once"
	}
	result := fmt.Sprintf("paid %s, served %d", times, served)
	for _, fault := range []error{err, counted} {
		if fault != nil {
			result += "; failed: " + strings.ReplaceAll(fault.Error(), "\n", " ")
		}
	}
	row := map[string]string{
		"client": "Go aperture, client interceptor", "version": version(),
		"rail": "L402, gRPC", "result": result,
	}
	if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
		panic(err)
	}
}

func lnd() (*lndclient.GrpcLndServices, error) {
	return lndclient.NewLndServices(&lndclient.LndServicesConfig{
		LndAddress:         os.Getenv("TOLLWAY_LND"),
		Network:            lndclient.NetworkRegtest,
		CustomMacaroonPath: os.Getenv("TOLLWAY_LND_MACAROON"),
		TLSPath:            os.Getenv("TOLLWAY_LND_CERT"),
		// The node has none of the subservers that this client does not call.
		CheckVersion: &verrpc.Version{AppMinor: 19},
	})
}

func ask() (served int, err error) {
	node, err := lnd()
	if err != nil {
		return 0, err
	}
	defer node.Close()
	folder, err := os.MkdirTemp("", "tollway-aperture-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	store, err := l402.NewFileStore(folder)
	if err != nil {
		return 0, err
	}
	node.Client = wallet{node.Client, node.Router}
	interceptor := l402.NewInterceptor(
		&node.LndServices, store, 30*time.Second, l402.DefaultMaxCostSats,
		l402.DefaultMaxRoutingFeeSats, true,
	)
	connection, err := grpc.NewClient(
		strings.TrimPrefix(os.Getenv("TOLLWAY_GATEWAY_URL"), "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(interceptor.UnaryInterceptor),
	)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	client := grpc_health_v1.NewHealthClient(connection)
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		cancel()
		if err != nil {
			return served, err
		}
		if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			return served, fmt.Errorf("expected SERVING, but found %v", answer.Status)
		}
		served++
	}
	return served, nil
}

// Pays by the router: the call that the published client makes is gone from newer nodes.
type wallet struct {
	lndclient.LightningClient
	router lndclient.RouterClient
}

func (w wallet) PayInvoice(
	ctx context.Context, invoice string, maxFee btcutil.Amount, _ *uint64,
) chan lndclient.PaymentResult {
	paid := make(chan lndclient.PaymentResult, 1)
	updates, faults, err := w.router.SendPayment(ctx, lndclient.SendPaymentRequest{
		Invoice: invoice, MaxFee: maxFee, Timeout: 30 * time.Second,
	})
	if err != nil {
		paid <- lndclient.PaymentResult{Err: err}
		return paid
	}
	go func() {
		for {
			select {
			case update := <-updates:
				switch update.State {
				case lnrpc.Payment_SUCCEEDED:
					paid <- lndclient.PaymentResult{
						Preimage: update.Preimage,
						PaidAmt:  update.Value.ToSatoshis(),
						PaidFee:  update.Fee.ToSatoshis(),
					}
					return
				case lnrpc.Payment_FAILED:
					paid <- lndclient.PaymentResult{Err: errors.New(update.String())}
					return
				}
			case err := <-faults:
				paid <- lndclient.PaymentResult{Err: err}
				return
			}
		}
	}()
	return paid
}

// How often the node paid.
func paid() (int, error) {
	node, err := lnd()
	if err != nil {
		return 0, err
	}
	defer node.Close()
	made, err := node.Client.ListPayments(context.Background(), lndclient.ListPaymentsRequest{})
	if err != nil {
		return 0, err
	}
	return len(made.Payments), nil
}

func version() string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == aperture {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}
