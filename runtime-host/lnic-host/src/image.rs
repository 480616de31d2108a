//! A loaded image as the worker uses it: the engine, and what is looked up per request; and images that were replaced.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lnic_wire::{MAX_FRAGMENT, id_index};

use crate::config::Config;
use crate::engine_api::{Engine, WorkloadInfo, resolve};
use crate::metrics::{Metrics, WorkloadMetrics};
use crate::server::Error;

/// Where a service of the image is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServiceAddress {
    pub(crate) peer: SocketAddr,
    pub(crate) timeout: Duration,
}

/// An engine with its routes. Made once per swap, then read by all threads.
pub(crate) struct Image {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) services: Vec<ServiceAddress>,
    metrics: Vec<Arc<WorkloadMetrics>>,
    fallbacks: Vec<Option<Arc<str>>>,
    /// Workload of each dense index.
    by_index: Vec<Option<u16>>,
    by_name: HashMap<String, usize>,
}

impl Image {
    /// Checks what the engine says of itself and makes the routes.
    pub(crate) fn new(engine: Arc<dyn Engine>, config: &Config, metrics: &Metrics) -> Result<Image, Error> {
        let mut image = Image {
            services: Vec::new(),
            metrics: Vec::new(),
            fallbacks: Vec::new(),
            by_index: Vec::new(),
            by_name: HashMap::new(),
            engine: Arc::clone(&engine),
        };
        for (at, info) in engine.workloads().iter().enumerate() {
            let sound = info.id != 0
                && (1..=MAX_FRAGMENT).contains(&usize::from(info.fragment))
                && info
                    .chunk
                    .is_none_or(|chunk| chunk > 0 && usize::from(info.fragment) % chunk == 0)
                && info.max_reply <= lnic_wire::MAX_MESSAGE;
            let index = usize::from(id_index(info.id));
            if image.by_index.len() <= index {
                image.by_index.resize(index + 1, None);
            }
            let taken = image.by_index[index].is_some() || image.by_name.contains_key(&info.name);
            let Ok(place) = u16::try_from(at) else {
                return Err(Error::Workload(info.name.clone()));
            };
            if !sound || taken {
                return Err(Error::Workload(info.name.clone()));
            }
            image.by_index[index] = Some(place);
            image.by_name.insert(info.name.clone(), at);
            image.metrics.push(metrics.workload(&info.name));
            image.fallbacks.push(
                config
                    .fallbacks
                    .get(&info.name)
                    .map(|url| Arc::from(url.as_str())),
            );
        }
        for service in engine.services() {
            let address = config.services.get(&service.name).unwrap_or(&service.address);
            let error = |source| Error::Service {
                name: service.name.clone(),
                address: address.clone(),
                source,
            };
            let peer = resolve(address).map_err(error)?;
            image.services.push(ServiceAddress {
                peer,
                timeout: service.timeout,
            });
        }
        Ok(image)
    }

    /// The workload with this id, whole.
    #[inline]
    pub(crate) fn route(&self, id: u32) -> Option<usize> {
        let at = usize::from((*self.by_index.get(usize::from(id_index(id)))?)?);
        (self.engine.workloads()[at].id == id).then_some(at)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    #[inline]
    pub(crate) fn info(&self, workload: usize) -> &WorkloadInfo {
        &self.engine.workloads()[workload]
    }

    #[inline]
    pub(crate) fn metrics(&self, workload: usize) -> &WorkloadMetrics {
        &self.metrics[workload]
    }

    pub(crate) fn fallback(&self, workload: usize) -> Option<&Arc<str>> {
        self.fallbacks[workload].as_ref()
    }
}

/// Images that were replaced, each until nothing else has it.
///
/// Packet threads let go of an image between two packets, and of one that an invocation has waited in right after its
/// reply. Were one of them the last, it would free the image: unmap its code and give back its memory. So this list
/// always is, and a thread that moves no packets empties it. An image stays no longer than its last invocation and one
/// look of that thread; there is at most one more for each swap since then.
#[derive(Default)]
pub(crate) struct Retired(Mutex<Vec<Arc<Image>>>);

impl Retired {
    /// Takes an image that nobody can get any more, apart from those who have it.
    pub(crate) fn add(&self, image: Arc<Image>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(image);
    }

    /// Frees the images that nobody else has.
    pub(crate) fn free(&self) {
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<_> = images
            .extract_if(.., |image| Arc::strong_count(image) == 1)
            .collect();
        drop(images);
        // Who swaps does not wait for this.
        drop(unused);
    }
}
