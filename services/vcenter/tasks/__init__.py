"""Tasks of vCenter, one flow each, in the order of the documents' numbered lists.

- ``vm``            CreateVm
- ``registration``  RegisterVm, UnregisterVm, DestroyVm
- ``encrypt``       EncryptVm
- ``power``         PowerOnVm, PowerOffVm, CryptoUnlock
- ``host``          AddHost, RemoveHost, ConfigureCryptoKey, ClearTpmRecord,
  PrepareCrypto, DisableCrypto, SetCryptoMode
- ``provider``      RegisterKmsCluster, UnregisterKmsCluster, MarkDefault, GenerateKey
"""
