//! gRPC's own health service: says `SERVING` as long as the member answers at all, as etcd does.

use etcd_api::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};
use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status, async_trait};

use super::face::{Answers, Face};

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}

/// Only the server as a whole, named by the empty string, is known.
fn check_name(request: &HealthCheckRequest) -> Result<(), Status> {
    if request.service.is_empty() { Ok(()) } else { Err(Status::not_found("unknown service")) }
}

#[async_trait]
impl Health for Face {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        check_name(request.get_ref())?;
        Ok(Response::new(serving()))
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        check_name(request.get_ref())?;
        // It never changes while the member runs; the stream stays open until it stops.
        let stop = self.stop.clone();
        let first = stream::once(async { Ok(serving()) });
        let last = stream::once(async move {
            stop.cancelled_owned().await;
            Ok(HealthCheckResponse { status: ServingStatus::NotServing.into() })
        });
        Ok(Response::new(first.chain(last).boxed()))
    }
}
